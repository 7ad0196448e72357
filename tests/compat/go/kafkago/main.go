// kafka-go against a broker: kafkago HOST:PORT. One line a check; stops at the first that fails.
package main

import (
	"context"
	"errors"
	"os"
	"slices"
	"sync"
	"time"

	. "compat/facts"

	"github.com/segmentio/kafka-go"
)

var background = context.Background()

type client struct {
	kafka.Client
	broker string
}

func main() {
	broker := os.Args[1]
	Facts{
		Name: "kafka-go", Version: Version("github.com/segmentio/kafka-go"),
		WithoutIdempotent: true, WithoutStatic: true, EmptyIsNull: true,
	}.Run(&client{kafka.Client{Addr: kafka.TCP(broker)}, broker})
}

func (c *client) Produce(topic string, records []Record, how How) {
	codecs := map[string]kafka.Compression{
		"gzip": kafka.Gzip, "snappy": kafka.Snappy, "lz4": kafka.Lz4, "zstd": kafka.Zstd,
	}
	writer := &kafka.Writer{
		Addr: kafka.TCP(c.broker), Topic: topic, Balancer: &kafka.Hash{}, BatchTimeout: 5 * time.Millisecond,
		RequiredAcks: kafka.RequiredAcks(how.Acks), Compression: codecs[how.Codec],
		// One batch a partition: with acks 0 a second one may overtake the first on another connection.
		BatchSize: len(records),
	}
	var messages []kafka.Message
	for _, r := range records {
		message := kafka.Message{Key: r.Key, Value: r.Value, Time: r.Time}
		for _, h := range r.Headers {
			message.Headers = append(message.Headers, kafka.Header{Key: h.Key, Value: h.Value})
		}
		messages = append(messages, message)
	}
	Must(writer.WriteMessages(background, messages...))
	Must(writer.Close())
}

// consumer is a reader, or a member of a group with the partitions that it was given.
type consumer struct {
	messages   chan kafka.Message
	close      func()
	lock       sync.Mutex
	generation *kafka.Generation
	assigned   []int
	rebalances int
	next       map[int]int64
}

func (c *client) read(topic string, partition int, from Start) *kafka.Reader {
	reader := kafka.NewReader(kafka.ReaderConfig{
		Brokers: []string{c.broker}, Topic: topic, Partition: partition, MaxWait: PollFor, MaxBytes: 10 << 20,
	})
	if from.Time.IsZero() {
		Must(reader.SetOffset(from.Offset))
	} else {
		Must(reader.SetOffsetAt(background, from.Time))
	}
	return reader
}

func (c *consumer) forward(stop context.Context, reader *kafka.Reader) {
	defer reader.Close()
	for {
		message, err := reader.ReadMessage(stop)
		if stop.Err() != nil {
			return
		}
		Must(err)
		c.change(func() {
			if c.next != nil {
				c.next[message.Partition] = message.Offset + 1
			}
		})
		c.messages <- message
	}
}

func (c *client) Read(topic string, partitions int, from Start) Consumer {
	stop, cancel := context.WithCancel(background)
	all := &consumer{messages: make(chan kafka.Message, 1000), close: cancel}
	for p := range partitions {
		go all.forward(stop, c.read(topic, p, from))
	}
	return all
}

func (c *client) Join(group, _ string, from int64) Member {
	members := Got(kafka.NewConsumerGroup(kafka.ConsumerGroupConfig{
		ID: group, Brokers: []string{c.broker}, Topics: []string{"shared"}, StartOffset: from,
		HeartbeatInterval: 500 * time.Millisecond, JoinGroupBackoff: 500 * time.Millisecond,
	}))
	member := &consumer{messages: make(chan kafka.Message, 1000), next: map[int]int64{}}
	member.close = func() { Must(members.Close()) }
	go func() {
		for {
			generation, err := members.Next(background)
			if errors.Is(err, kafka.ErrGroupClosed) {
				return
			}
			// Other errors mean to try again, as the client's own group reader does.
			if err == nil {
				member.take(c, generation)
			}
		}
	}()
	return member
}

func (c *consumer) take(from *client, generation *kafka.Generation) {
	c.change(func() {
		c.generation, c.rebalances, c.assigned = generation, c.rebalances+1, nil
		for _, each := range generation.Assignments["shared"] {
			c.assigned = append(c.assigned, each.ID)
			generation.Start(func(stop context.Context) {
				c.forward(stop, from.read("shared", each.ID, Start{Offset: each.Offset}))
			})
		}
	})
}

func (c *consumer) change(change func()) {
	c.lock.Lock()
	defer c.lock.Unlock()
	change()
}

func (c *consumer) Poll() (records []Record) {
	wait := time.After(PollFor)
	for {
		select {
		case message := <-c.messages:
			record := Record{Key: message.Key, Value: message.Value}
			for _, h := range message.Headers {
				record.Headers = append(record.Headers, Header{Key: h.Key, Value: h.Value})
			}
			records = append(records, record)
		case <-wait:
			return
		}
	}
}

func (c *consumer) Assigned() (assigned []int) {
	c.change(func() { assigned = slices.Sorted(slices.Values(c.assigned)) })
	return
}

func (c *consumer) Rebalances() (count int) {
	c.change(func() { count = c.rebalances })
	return
}

func (c *consumer) Commit() {
	c.change(func() { Must(c.generation.CommitOffsets(map[string]map[int]int64{"shared": c.next})) })
}

func (c *consumer) Close() { c.close() }

func (c *client) CreateTopic(name string, partitions int, configs map[string]string) {
	topic := kafka.TopicConfig{Topic: name, NumPartitions: partitions, ReplicationFactor: 1}
	for key, value := range configs {
		topic.ConfigEntries = append(topic.ConfigEntries, kafka.ConfigEntry{ConfigName: key, ConfigValue: value})
	}
	answer := Got(c.CreateTopics(background, &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{topic}}))
	Must(answer.Errors[name])
}

func (c *client) Topics() map[string]int {
	counts := map[string]int{}
	for _, topic := range Got(c.Metadata(background, &kafka.MetadataRequest{})).Topics {
		counts[topic.Name] = len(topic.Partitions)
	}
	return counts
}

func (c *client) Config(topic, key string) string {
	answer := Got(c.DescribeConfigs(background, &kafka.DescribeConfigsRequest{
		Resources: []kafka.DescribeConfigRequestResource{
			{ResourceType: kafka.ResourceTypeTopic, ResourceName: topic, ConfigNames: []string{key}},
		},
	}))
	Must(answer.Resources[0].Error)
	return answer.Resources[0].ConfigEntries[0].ConfigValue
}

func (c *client) SetConfig(topic, key, value string) {
	set := kafka.IncrementalAlterConfigsRequestConfig{
		Name: key, Value: value, ConfigOperation: kafka.ConfigOperationSet,
	}
	answer := Got(c.IncrementalAlterConfigs(background, &kafka.IncrementalAlterConfigsRequest{
		Resources: []kafka.IncrementalAlterConfigsRequestResource{{
			ResourceType: kafka.ResourceTypeTopic, ResourceName: topic,
			Configs: []kafka.IncrementalAlterConfigsRequestConfig{set},
		}},
	}))
	Must(answer.Resources[0].Error)
}

func (c *client) DeleteTopic(name string) {
	answer := Got(c.DeleteTopics(background, &kafka.DeleteTopicsRequest{Topics: []string{name}}))
	Must(answer.Errors[name])
}

func (c *client) Offset(topic string, at int64) int64 {
	asked := map[string][]kafka.OffsetRequest{topic: {{Partition: 0, Timestamp: at}}}
	listed := Got(c.ListOffsets(background, &kafka.ListOffsetsRequest{Topics: asked})).Topics[topic][0]
	Must(listed.Error)
	switch at {
	case Earliest:
		return listed.FirstOffset
	case Latest:
		return listed.LastOffset
	}
	for offset := range listed.Offsets {
		return offset
	}
	return -1
}
