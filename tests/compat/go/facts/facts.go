// Package facts is what the Go programs share: what a client has to do, as an interface, and the
// checks of it, one line each. A program ends with the first check that fails.
package facts

import (
	"bytes"
	"fmt"
	"math/rand"
	"os"
	"runtime/debug"
	"slices"
	"time"
)

// Record is one record; nil is null, a zero time is now.
type Record struct {
	Key, Value []byte
	Headers    []Header
	Time       time.Time
}

// Header is one header of a record.
type Header struct {
	Key   string
	Value []byte
}

// How a record is produced: acks 0, 1 or -1; codec none, gzip, snappy, lz4 or zstd.
type How struct {
	Acks       int
	Codec      string
	Idempotent bool
}

// Where a consumer starts: an offset from 0, Latest, Earliest, or the first record at a time.
type Start struct {
	Offset int64
	Time   time.Time
}

// Offsets with a meaning, as in ListOffsets.
const (
	Latest   = -1
	Earliest = -2
)

// Consumer reads what it is told to.
type Consumer interface {
	Poll() []Record
	Close()
}

// Member is a consumer in a group.
type Member interface {
	Consumer
	Assigned() []int
	Rebalances() int
	Commit()
}

// Client is a client under test; its methods end the program when something fails.
type Client interface {
	Produce(topic string, records []Record, how How)
	Read(topic string, partitions int, from Start) Consumer
	Join(group, instance string, from int64) Member
	CreateTopic(name string, partitions int, configs map[string]string)
	Topics() map[string]int
	Config(topic, key string) string
	SetConfig(topic, key, value string)
	DeleteTopic(name string)
	Offset(topic string, at int64) int64
}

// Facts says which client it is and what that client does not have; EmptyIsNull is a client that
// reads what is empty as null.
type Facts struct {
	Name, Version                    string
	WithoutIdempotent, WithoutStatic bool
	EmptyIsNull                      bool
}

// PollFor is how long a Poll waits for a first record.
const PollFor = 100 * time.Millisecond

const patience = time.Minute

var (
	headers = []Header{{"first", []byte("1")}, {"second", []byte{0, 0xff}}, {"first", []byte("again")}}
	late    = []Record{record("k", "made while a consumer waits at the end")}
	made    = time.Now().Add(-time.Hour).Truncate(time.Second)
	client  Facts
)

// Must ends the program when there is an error.
func Must(err error) {
	if err != nil {
		check("no error", false, err)
	}
}

// Got is a value, or the end of the program.
func Got[T any](value T, err error) T {
	Must(err)
	return value
}

func check(what string, ok bool, seen ...any) {
	if !ok {
		fmt.Printf("%s: FAILED: %s\n", client.Name, what)
		fmt.Fprintf(os.Stderr, "saw %.2000s\n", fmt.Sprintln(seen...))
		os.Exit(1)
	}
	fmt.Printf("%s: ok: %s\n", client.Name, what)
}

func record(key, value string) Record { return Record{Key: []byte(key), Value: []byte(value)} }

func records(count int) []Record {
	var all []Record
	for i := range count {
		each := record(fmt.Sprint("key-", i%50), fmt.Sprint("value-", i))
		each.Headers = headers
		all = append(all, each)
	}
	return all
}

func equal(a, b Record) bool {
	same := func(a, b []byte) bool {
		return bytes.Equal(a, b) && ((a == nil) == (b == nil) || client.EmptyIsNull)
	}
	return same(a.Key, b.Key) && same(a.Value, b.Value)
}

// same compares records in the order of each key: partitions come in any order.
func same(got, wanted []Record) bool {
	sorted := func(records []Record) []Record {
		records = slices.Clone(records)
		slices.SortStableFunc(records, func(a, b Record) int { return bytes.Compare(a.Key, b.Key) })
		return records
	}
	return slices.EqualFunc(sorted(got), sorted(wanted), equal)
}

// within calls turn until it is true, for a while.
func within(turn func() bool) bool {
	for end := time.Now().Add(patience); time.Now().Before(end); {
		if turn() {
			return true
		}
	}
	return false
}

func drain(count int, from ...Consumer) [][]Record {
	got, total := make([][]Record, len(from)), 0
	within(func() bool {
		for i, consumer := range from {
			batch := consumer.Poll()
			got[i], total = append(got[i], batch...), total+len(batch)
		}
		return total >= count
	})
	return got
}

func read(c Client, topic string, partitions, count int, from Start) []Record {
	consumer := c.Read(topic, partitions, from)
	defer consumer.Close()
	return drain(count, consumer)[0]
}

// Run makes every check.
func (f Facts) Run(c Client) {
	client = f
	fmt.Printf("%s: version: %s\n", f.Name, f.Version)
	f.producing(c)
	consuming(c)
	groups(c)
	if f.WithoutStatic {
		fmt.Printf("%s: none: static member\n", client.Name)
	} else {
		staticMembers(c)
	}
	administration(c)
}

func (f Facts) producing(c Client) {
	trip := func(what, topic string, wanted []Record, how How) []Record {
		c.CreateTopic(topic, 4, nil)
		c.Produce(topic, wanted, how)
		got := read(c, topic, 4, len(wanted), Start{Offset: Earliest})
		check(what, same(got, wanted), len(got))
		return got
	}
	usual := How{Acks: -1, Codec: "none"}
	trip("acks 0", "acks-0", records(500), How{Acks: 0, Codec: "none"})
	trip("acks 1", "acks-1", records(500), How{Acks: 1, Codec: "none"})
	got := trip("acks all", "acks-all", records(500), usual)
	other := func(a, b Header) bool { return a.Key == b.Key && bytes.Equal(a.Value, b.Value) }
	bad := slices.ContainsFunc(got, func(r Record) bool { return !slices.EqualFunc(r.Headers, headers, other) })
	check("keys and headers", !bad, got[0].Headers)
	for _, codec := range []string{"gzip", "snappy", "lz4", "zstd"} {
		trip(codec, codec, records(500), How{Acks: -1, Codec: codec})
	}
	null := []Record{{Key: []byte("k")}, {Value: []byte("v")}}
	trip("null values", "nulls", null, usual)
	trip("empty records", "empty", []Record{record("", ""), record("k", "")}, usual)
	large := make([]byte, 900_000)
	rand.New(rand.NewSource(1)).Read(large)
	trip("900 kB records", "large", []Record{record("k", string(large))}, usual)
	if f.WithoutIdempotent {
		fmt.Printf("%s: none: idempotent producer\n", client.Name)
	} else {
		trip("idempotent producer", "idempotent", records(500), How{Acks: -1, Codec: "none", Idempotent: true})
	}
}

func consuming(c Client) {
	timed := records(10)
	for i := range timed {
		timed[i].Key, timed[i].Time = []byte("k"), made.Add(time.Duration(i)*time.Second)
	}
	c.CreateTopic("timed", 1, nil)
	c.Produce("timed", timed, How{Acks: -1, Codec: "none"})
	got := read(c, "timed", 1, 10, Start{Offset: Earliest})
	check("from the earliest", same(got, timed), got)
	got = read(c, "timed", 1, 3, Start{Offset: 7})
	check("from an offset", same(got, timed[7:]), got)
	got = read(c, "timed", 1, 5, Start{Time: made.Add(4500 * time.Millisecond)})
	check("by timestamp", same(got, timed[5:]), got)
	consumer := c.Read("gzip", 4, Start{Offset: Latest})
	defer consumer.Close()
	within(func() bool {
		c.Produce("gzip", late, How{Acks: -1, Codec: "none"})
		got = consumer.Poll()
		return len(got) > 0
	})
	check("from the latest", len(got) > 0 && equal(got[0], late[0]), got)
}

// share polls until the members have so many partitions each; no record may come meanwhile.
func share(wanted []int, members ...Member) bool {
	return within(func() bool {
		settled := true
		for i, member := range members {
			if got := member.Poll(); len(got) > 0 {
				check("no record comes twice while members come and go", false, got)
			}
			settled = settled && len(member.Assigned()) == wanted[i]
		}
		return settled
	})
}

func groups(c Client) {
	usual := How{Acks: -1, Codec: "none"}
	c.CreateTopic("shared", 4, nil)
	c.Produce("shared", records(500), usual)
	one := c.Join("group", "", Earliest)
	got := drain(500, one)
	check("join: a group of one reads everything", same(got[0], records(500)), len(got[0]))
	one.Commit()
	two := c.Join("group", "", Earliest)
	check("rebalance: a second member gets its part", share([]int{2, 2}, one, two))
	c.Produce("shared", records(500), usual)
	got = drain(500, one, two)
	both := slices.Concat(got...)
	each := len(got[0]) > 0 && len(got[1]) > 0 && same(both, records(500))
	check("rebalance: each record comes to one of two members", each, len(got[0]), len(got[1]))
	one.Commit()
	two.Commit()
	two.Close()
	check("leave: the first member gets everything back", share([]int{4}, one))
	one.Close()
	c.Produce("shared", records(100), usual)
	again := c.Join("group", "", Earliest)
	rest := drain(100, again)[0]
	check("commit and resume", same(rest, records(100)), len(rest))
	again.Close()
}

func staticMembers(c Client) {
	a, b := c.Join("static", "a", Latest), c.Join("static", "b", Latest)
	check("static member: each has its part", share([]int{2, 2}, a, b), a.Assigned(), b.Assigned())
	before, mine := a.Rebalances(), b.Assigned()
	b.Close()
	b = c.Join("static", "b", Latest)
	check("static member: each has its part again", share([]int{2, 2}, a, b), a.Assigned(), b.Assigned())
	stays := slices.Equal(b.Assigned(), mine) && a.Rebalances() == before
	check("static member: comes back to its partitions without a rebalance", stays,
		mine, b.Assigned(), before, a.Rebalances())
	a.Close()
	b.Close()
}

func administration(c Client) {
	c.CreateTopic("made", 3, map[string]string{"retention.ms": "1000000"})
	within(func() bool { return c.Topics()["made"] > 0 })
	check("create topic", c.Topics()["made"] == 3, c.Topics())
	check("describe", c.Config("made", "retention.ms") == "1000000")
	c.SetConfig("made", "retention.ms", "2000000")
	check("alter configs", c.Config("made", "retention.ms") == "2000000")
	offsets := []int64{c.Offset("timed", Earliest), c.Offset("timed", Latest), c.Offset("timed", made.UnixMilli()+1000)}
	check("list offsets", slices.Equal(offsets, []int64{0, 10, 1}), offsets)
	c.DeleteTopic("made")
	gone := within(func() bool { return c.Topics()["made"] == 0 })
	check("delete topic", gone)
}

// Version is that of a module that the program was built with.
func Version(module string) string {
	info, _ := debug.ReadBuildInfo()
	for _, each := range info.Deps {
		if each.Path == module {
			return each.Version
		}
	}
	return "unknown"
}
