mode: tool
pre: printf 'BEGIN{ print(1);if(pid>3){exit()} } // end\ninterval:s:1,END /pid==1&&$1/ {@x[1,"a"]=count();}' > fmt.bt
args: --fmt fmt.bt
