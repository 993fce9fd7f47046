flags: -c 'sh -c "exit 3"' 
exit: any
oracle: none
