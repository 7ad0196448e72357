#!/usr/bin/env bash
# kcat (librdkafka) against a broker: kcat.sh HOST:PORT. One line a check; stops at the first that fails.
# WORK is a directory for its files.
set -euo pipefail
broker=$1
work=${WORK:?a directory}
kcat() { timeout 60 "$(type -P kcat)" -q -b "$broker" "$@"; }

ok() { echo "kcat: ok: $1"; }
none() { echo "kcat: none: $1"; }
failed() { echo "kcat: FAILED: $1"; exit 1; }
same() { # what expected-file actual-file
    diff "$2" "$3" >"$work/diff" && ok "$1" || { head -20 "$work/diff"; failed "$1"; }
}
all() { # topic format: everything that the topic holds, sorted
    kcat -C -t "$1" -X fetch.wait.max.ms=50 -o beginning -e -f "$2" | LC_ALL=C sort
}
await() { # seconds what command: until it succeeds
    for _ in $(seq $(($1 * 10))); do "${@:3}" && return; sleep 0.1; done
    tail -5 "$work"/*.err || true
    failed "$2"
}

echo "kcat: version: $(command kcat -V | grep -o 'librdkafka [0-9.]*')"
seq -w 0 999 | sed 's/.*/key-&:value-&/' | LC_ALL=C sort >"$work/lines"

round_trip() { # what topic option...
    kcat -P -t "$2" -K: "${@:3}" <"$work/lines"
    # Without an acknowledgement nobody says when the records are there.
    for _ in $(seq 100); do
        all "$2" '%k:%s\n' >"$work/got"
        [ "$(wc -l <"$work/got")" -ge 1000 ] && break
        sleep 0.1
    done
    same "$1" "$work/lines" "$work/got"
}
for acks in 0 1 all; do round_trip "acks $acks" "acks-$acks" -X acks=$acks; done
for codec in gzip snappy lz4 zstd; do round_trip $codec $codec -z $codec; done
round_trip "idempotent producer" idempotent -X enable.idempotence=true

printf 'k:\nonly-key:v\n' | kcat -P -t nulls -K: -Z -p 0 -H first=1 -H second=two -H first=again
kcat -C -t nulls -p 0 -o beginning -e -f '%k|%S|%s|%h|%o\n' >"$work/got"
printf 'k|-1||first=1,second=two,first=again|0\nonly-key|1|v|first=1,second=two,first=again|1\n' >"$work/want"
same "null values" "$work/want" "$work/got"
ok "keys and headers"

printf ':\nk:\n' | kcat -P -t empty -K: -p 0
kcat -C -t empty -p 0 -o beginning -e -f '%K|%S\n' >"$work/got"
printf '0|0\n1|0\n' >"$work/want"
same "empty records" "$work/want" "$work/got"

head -c 900000 /dev/urandom >"$work/want"
kcat -P -t large -k k -z none "$work/want"
kcat -C -t large -o beginning -e -f '%s' >"$work/got"
same "900 kB records" "$work/want" "$work/got"

kcat -P -t by-partition -p 2 < <(seq 10)
kcat -C -t by-partition -p 2 -o beginning -c 3 -f '%s\n' >"$work/got"
printf '%s\n' 1 2 3 >"$work/want"
same "from the earliest" "$work/want" "$work/got"
kcat -C -t by-partition -p 2 -o 3 -c 4 -f '%o=%s\n' >"$work/got"
printf '%s\n' 3=4 4=5 5=6 6=7 >"$work/want"
same "from an offset" "$work/want" "$work/got"
kcat -C -t by-partition -p 2 -o -2 -e -f '%s\n' >"$work/got"
printf '%s\n' 9 10 >"$work/want"
same "from an offset: the last records of a partition" "$work/want" "$work/got"
sleep 0.05
at=$(date +%s%3N)
kcat -P -t by-partition -p 2 < <(seq 11 12)
kcat -C -t by-partition -p 2 -o "s@$at" -e -f '%s\n' >"$work/got"
printf '%s\n' 11 12 >"$work/want"
same "by timestamp" "$work/want" "$work/got"

kcat -Q -t "by-partition:2:$at" | sort >"$work/got"
echo 'by-partition [2] offset 10' >"$work/want"
same "list offsets" "$work/want" "$work/got"
kcat -L -t by-partition | grep -c '    partition ' >"$work/got"
echo 4 >"$work/want"
same "describe" "$work/want" "$work/got"

kcat -C -t gzip -o end -c 1 -f '%s\n' >"$work/got" & late=$!
latest() {
    echo late | kcat -P -t gzip
    [ -s "$work/got" ]
}
await 60 "from the latest" latest
wait $late
echo late >"$work/want"
same "from the latest" "$work/want" "$work/got"

kcat -P -t shared -K: <"$work/lines"
group() { # first count: the next records of the group, from a member that then leaves
    kcat -G group-1 -X auto.offset.reset=earliest -c "$1" -f '%k:%s\n' shared
}
group 400 >"$work/first" 2>"$work/err" || { cat "$work/err"; exit 1; }
group 600 >"$work/rest" 2>"$work/err" || { cat "$work/err"; exit 1; }
LC_ALL=C sort "$work/first" "$work/rest" >"$work/got"
same "commit and resume" "$work/lines" "$work/got"

member() { # output group option...: a member of a group until it is ended
    exec timeout 60 "$(type -P kcat)" -b "$broker" -u -G "$2" -X auto.offset.reset=earliest \
        -X session.timeout.ms=6000 -X heartbeat.interval.ms=500 "${@:3}" -f '%k:%s\n' shared >"$1" 2>"$1.err"
}
lines() { cat "$@" | wc -l; }
enough() { [ "$(lines "$work/a" "$work/b")" -ge "$1" ]; }
assigned() { grep -q 'assigned: shared' "$work/$1.err"; }
: >"$work/a"; : >"$work/b"
member "$work/a" group-2 & a=$!
trap 'kill $(jobs -p) 2>/dev/null || true' EXIT
await 30 "join" enough 1000
ok "join: a group of one reads everything"
member "$work/b" group-2 & b=$!
await 30 "rebalance: the second member gets partitions" assigned b
kcat -P -t shared -K: <"$work/lines"
await 30 "rebalance: both members read" enough 2000
[ "$(lines "$work/b")" -gt 0 ] || failed "rebalance: the second member reads"
kill $b; wait $b || true
kcat -P -t shared -K: <"$work/lines"
await 30 "leave: the first member reads all again" enough 3000
kill $a; wait $a || true
LC_ALL=C sort "$work/a" "$work/b" >"$work/got"
LC_ALL=C sort "$work/lines" "$work/lines" "$work/lines" >"$work/want"
same "rebalance: each record comes to one of two members" "$work/want" "$work/got"
ok "leave: the first member gets everything back"

rebalances() { grep -c 'assigned: shared' "$work/$1.err"; }
static() { member "$work/$1" group-3 -X group.instance.id="$1" -X session.timeout.ms=30000 & }
static c; c=$!
await 30 "static member: the first one" assigned c
static d; d=$!
await 30 "static member: the second one" assigned d
halved() { [ "$(grep 'assigned: ' "$work/c.err" | tail -1 | grep -o 'shared \[' | wc -l)" = 2 ]; }
await 30 "static member: each has its part" halved
before=$(rebalances c)
kill $d; wait $d || true
tail -1 <(grep -o 'assigned: .*' "$work/d.err") >"$work/want"
static d; d=$!
await 30 "static member: the second one is back" assigned d
tail -1 <(grep -o 'assigned: .*' "$work/d.err") >"$work/got"
kill $c $d; wait $c $d || true
[ "$(rebalances c)" = "$before" ] || failed "static member: no rebalance"
same "static member: comes back to its partitions without a rebalance" "$work/want" "$work/got"
for what in "create topic" "alter configs" "delete topic"; do none "$what"; done
