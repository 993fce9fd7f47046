mode: tool
args: run -e 'begin { $x = $1; print($x); @k[$1, $2] = $2; if ($1) { print("set"); } }' abc 5
