#!/usr/bin/env bash
# kcat (librdkafka) against a broker: kcat.sh HOST:PORT. One line a check; stops at the first that fails.
# WORK is a directory for its files.
set -euo pipefail
broker=$1
work=${WORK:?a directory}
kcat() { timeout 60 "$(type -P kcat)" -q -b "$broker" "$@"; }

ok() { echo "kcat: ok: $1"; }
same() { # what expected-file actual-file
    diff "$2" "$3" >"$work/diff" && ok "$1" || { echo "kcat: FAILED: $1"; head -20 "$work/diff"; exit 1; }
}
all() { # topic format: everything that the topic holds, sorted
    kcat -C -t "$1" -X fetch.wait.max.ms=50 -o beginning -e -f "$2" | LC_ALL=C sort
}

command kcat -V | grep librdkafka
seq -w 0 999 | sed 's/.*/key-&:value-&/' | LC_ALL=C sort >"$work/lines"

for codec in none gzip snappy lz4 zstd; do
    for acks in 0 1 all; do
        topic=plain-$codec-$acks
        kcat -P -t "$topic" -K: -z "$codec" -X acks="$acks" <"$work/lines"
        # Without an acknowledgement nobody says when the records are there.
        for _ in $(seq 100); do
            all "$topic" '%k:%s\n' >"$work/got"
            [ "$(wc -l <"$work/got")" -ge 1000 ] && break
            sleep 0.1
        done
        same "codec $codec, acks $acks" "$work/lines" "$work/got"
    done
done

kcat -P -t idempotent -K: -X enable.idempotence=true <"$work/lines"
all idempotent '%k:%s\n' >"$work/got"
same "idempotent producer" "$work/lines" "$work/got"

printf 'k:\nonly-key:v\n' | kcat -P -t nulls -K: -Z -p 0 -H first=1 -H second=two -H first=again
kcat -C -t nulls -p 0 -o beginning -e -f '%k|%S|%s|%h|%o\n' >"$work/got"
printf 'k|-1||first=1,second=two,first=again|0\nonly-key|1|v|first=1,second=two,first=again|1\n' >"$work/want"
same "null value, headers" "$work/want" "$work/got"

kcat -P -t by-partition -p 2 < <(seq 10)
kcat -C -t by-partition -p 2 -o 3 -c 4 -f '%o=%s\n' >"$work/got"
printf '%s\n' 3=4 4=5 5=6 6=7 >"$work/want"
same "from an offset of one partition" "$work/want" "$work/got"
kcat -C -t by-partition -p 2 -o -2 -e -f '%s\n' >"$work/got"
printf '%s\n' 9 10 >"$work/want"
same "the last records of a partition" "$work/want" "$work/got"

group() { # first count: the next records of the group, from a member that then leaves
    kcat -G group-1 -X auto.offset.reset=earliest -c "$1" -f '%k:%s\n' plain-zstd-all
}
group 400 >"$work/first" 2>"$work/err" || { cat "$work/err"; exit 1; }
group 600 >"$work/rest" 2>"$work/err" || { cat "$work/err"; exit 1; }
LC_ALL=C sort "$work/first" "$work/rest" >"$work/got"
same "a group goes on where it committed" "$work/lines" "$work/got"

member() { # output: a member of group-2 until it is ended
    exec timeout 60 "$(type -P kcat)" -b "$broker" -u -G group-2 -X auto.offset.reset=earliest \
        -X session.timeout.ms=6000 -X heartbeat.interval.ms=500 -f '%k:%s\n' shared >"$1" 2>"$1.err"
}
lines() { cat "$@" | wc -l; }
await() { # seconds what command: until it succeeds
    for _ in $(seq $(($1 * 10))); do "${@:3}" && return; sleep 0.1; done
    echo "kcat: FAILED: $2"; tail -5 "$work"/*.err; exit 1
}
enough() { [ "$(lines "$work/a" "$work/b")" -ge "$1" ]; }
assigned() { grep -q 'assigned: shared' "$work/$1.err"; }
kcat -P -t shared -K: <"$work/lines"
: >"$work/a"; : >"$work/b"
member "$work/a" & a=$!
trap 'kill $(jobs -p) 2>/dev/null || true' EXIT
await 30 "the first member reads" enough 1000
member "$work/b" & b=$!
await 30 "the second member gets partitions" assigned b
kcat -P -t shared -K: <"$work/lines"
await 30 "both members read" enough 2000
[ "$(lines "$work/b")" -gt 0 ] || { echo "kcat: FAILED: the second member read nothing"; exit 1; }
kill $b; wait $b || true
kcat -P -t shared -K: <"$work/lines"
await 30 "the first member reads all again" enough 3000
kill $a; wait $a || true
LC_ALL=C sort "$work/a" "$work/b" >"$work/got"
LC_ALL=C sort "$work/lines" "$work/lines" "$work/lines" >"$work/want"
same "a member joins and leaves: each record once" "$work/want" "$work/got"
