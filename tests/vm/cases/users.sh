# hosts: systemd sysvinit
# Not root: refused in one line, nothing changed.
hostel=$(command -v hostel)
out=$(setpriv --reuid=65534 --regid=65534 --clear-groups "$hostel" run -- true 2>&1) && fail "a user may: $out" || :
same 1 "$(echo "$out" | grep -v '^hint: ' | grep -c .)" "lines of '$out'"
