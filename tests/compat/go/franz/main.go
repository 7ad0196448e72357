// franz-go against a broker: franz HOST:PORT. One line a check; stops at the first that fails.
package main

import (
	"context"
	"os"
	"slices"
	"sync"
	"time"

	. "compat/facts"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

var background = context.Background()

type franz struct {
	broker string
	admin  *kadm.Client
}

func main() {
	broker := os.Args[1]
	admin := kadm.NewClient(Got(kgo.NewClient(kgo.SeedBrokers(broker), kgo.MetadataMinAge(100*time.Millisecond))))
	Facts{Name: "franz-go", Version: Version("github.com/twmb/franz-go")}.Run(franz{broker, admin})
}

func (f franz) client(options ...kgo.Opt) *kgo.Client {
	usual := []kgo.Opt{kgo.SeedBrokers(f.broker), kgo.MetadataMinAge(100 * time.Millisecond)}
	return Got(kgo.NewClient(append(usual, options...)...))
}

func (f franz) Produce(topic string, records []Record, how How) {
	codecs := map[string]kgo.CompressionCodec{
		"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
		"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
	}
	acks := map[int]kgo.Acks{0: kgo.NoAck(), 1: kgo.LeaderAck(), -1: kgo.AllISRAcks()}
	options := []kgo.Opt{
		kgo.DefaultProduceTopic(topic), kgo.ProducerBatchCompression(codecs[how.Codec]),
		kgo.RequiredAcks(acks[how.Acks]), kgo.ProducerLinger(5 * time.Millisecond),
	}
	if !how.Idempotent {
		options = append(options, kgo.DisableIdempotentWrite())
	}
	client := f.client(options...)
	defer client.Close()
	var out []*kgo.Record
	for _, r := range records {
		record := &kgo.Record{Key: r.Key, Value: r.Value, Timestamp: r.Time}
		for _, h := range r.Headers {
			record.Headers = append(record.Headers, kgo.RecordHeader{Key: h.Key, Value: h.Value})
		}
		out = append(out, record)
	}
	Must(client.ProduceSync(background, out...).FirstErr())
}

// consumer is a reader, or a member of a group with the partitions that it was given.
type consumer struct {
	client     *kgo.Client
	lock       sync.Mutex
	assigned   []int
	rebalances int
}

func (f franz) Read(topic string, partitions int, from Start) Consumer {
	at := kgo.NewOffset().At(from.Offset)
	switch {
	case !from.Time.IsZero():
		at = kgo.NewOffset().AfterMilli(from.Time.UnixMilli())
	case from.Offset == Latest:
		at = kgo.NewOffset().AtEnd()
	case from.Offset == Earliest:
		at = kgo.NewOffset().AtStart()
	}
	offsets := map[int32]kgo.Offset{}
	for p := range partitions {
		offsets[int32(p)] = at
	}
	return &consumer{client: f.client(kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: offsets}))}
}

func (f franz) Join(group, instance string, from int64) Member {
	c := &consumer{}
	start := kgo.NewOffset().AtStart()
	if from == Latest {
		start = kgo.NewOffset().AtEnd()
	}
	options := []kgo.Opt{
		kgo.ConsumerGroup(group), kgo.ConsumeTopics("shared"), kgo.ConsumeResetOffset(start),
		kgo.Balancers(kgo.RangeBalancer()), kgo.DisableAutoCommit(), kgo.HeartbeatInterval(500 * time.Millisecond),
		kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, assigned map[string][]int32) {
			c.change(func() {
				c.rebalances++
				for _, p := range assigned["shared"] {
					c.assigned = append(c.assigned, int(p))
				}
			})
		}),
		kgo.OnPartitionsRevoked(func(context.Context, *kgo.Client, map[string][]int32) {
			c.change(func() { c.assigned = nil })
		}),
	}
	if instance != "" {
		options = append(options, kgo.InstanceID(instance))
	}
	c.client = f.client(options...)
	return c
}

func (c *consumer) change(change func()) {
	c.lock.Lock()
	defer c.lock.Unlock()
	change()
}

func (c *consumer) Poll() []Record {
	patient, cancel := context.WithTimeout(background, PollFor)
	defer cancel()
	var records []Record
	c.client.PollFetches(patient).EachRecord(func(r *kgo.Record) {
		record := Record{Key: r.Key, Value: r.Value}
		for _, h := range r.Headers {
			record.Headers = append(record.Headers, Header{Key: h.Key, Value: h.Value})
		}
		records = append(records, record)
	})
	return records
}

func (c *consumer) Assigned() (assigned []int) {
	c.change(func() { assigned = slices.Sorted(slices.Values(c.assigned)) })
	return
}

func (c *consumer) Rebalances() (count int) {
	c.change(func() { count = c.rebalances })
	return
}

func (c *consumer) Commit() { Must(c.client.CommitUncommittedOffsets(background)) }
func (c *consumer) Close()  { c.client.Close() }

func (f franz) CreateTopic(name string, partitions int, configs map[string]string) {
	values := map[string]*string{}
	for key, value := range configs {
		values[key] = &value
	}
	Got(f.admin.CreateTopic(background, int32(partitions), 1, values, name))
}

func (f franz) Topics() map[string]int {
	counts := map[string]int{}
	for name, topic := range Got(f.admin.ListTopics(background)) {
		counts[name] = len(topic.Partitions)
	}
	return counts
}

func (f franz) Config(topic, key string) string {
	resource := Got(Got(f.admin.DescribeTopicConfigs(background, topic)).On(topic, nil))
	for _, config := range resource.Configs {
		if config.Key == key {
			return *config.Value
		}
	}
	return ""
}

func (f franz) SetConfig(topic, key, value string) {
	changes := []kadm.AlterConfig{{Op: kadm.SetConfig, Name: key, Value: &value}}
	Must(Got(f.admin.AlterTopicConfigs(background, changes, topic))[0].Err)
}

func (f franz) DeleteTopic(name string) { Got(f.admin.DeleteTopic(background, name)) }

func (f franz) Offset(topic string, at int64) int64 {
	var listed kadm.ListedOffsets
	switch at {
	case Earliest:
		listed = Got(f.admin.ListStartOffsets(background, topic))
	case Latest:
		listed = Got(f.admin.ListEndOffsets(background, topic))
	default:
		listed = Got(f.admin.ListOffsetsAfterMilli(background, at, topic))
	}
	return listed[topic][0].Offset
}
