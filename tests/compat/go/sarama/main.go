// Sarama against a broker: sarama HOST:PORT. One line a check; stops at the first that fails.
package main

import (
	"context"
	"os"
	"slices"
	"sync"
	"time"

	. "compat/facts"

	"github.com/IBM/sarama"
)

type client struct {
	lookup sarama.Client
	admin  sarama.ClusterAdmin
}

func main() {
	brokers := os.Args[1:2]
	c := client{Got(sarama.NewClient(brokers, config())), Got(sarama.NewClusterAdmin(brokers, config()))}
	Facts{Name: "sarama", Version: Version("github.com/IBM/sarama")}.Run(c)
}

func config() *sarama.Config {
	config := sarama.NewConfig()
	config.Version = sarama.V4_0_0_0
	config.Metadata.Retry.Backoff = 100 * time.Millisecond
	config.Consumer.MaxWaitTime = PollFor
	return config
}

func (c client) addresses() (addresses []string) {
	for _, broker := range c.lookup.Brokers() {
		addresses = append(addresses, broker.Addr())
	}
	return
}

func (c client) Produce(topic string, records []Record, how How) {
	codecs := map[string]sarama.CompressionCodec{
		"none": sarama.CompressionNone, "gzip": sarama.CompressionGZIP, "snappy": sarama.CompressionSnappy,
		"lz4": sarama.CompressionLZ4, "zstd": sarama.CompressionZSTD,
	}
	config := config()
	config.Producer.RequiredAcks = sarama.RequiredAcks(how.Acks)
	config.Producer.Compression = codecs[how.Codec]
	config.Producer.Idempotent = how.Idempotent
	config.Producer.Return.Successes = true
	config.Producer.Flush.Frequency = 5 * time.Millisecond
	config.Net.MaxOpenRequests = 1
	producer := Got(sarama.NewSyncProducer(c.addresses(), config))
	defer producer.Close()
	var messages []*sarama.ProducerMessage
	for _, r := range records {
		message := &sarama.ProducerMessage{Topic: topic, Timestamp: r.Time}
		if r.Key != nil {
			message.Key = sarama.ByteEncoder(r.Key)
		}
		if r.Value != nil {
			message.Value = sarama.ByteEncoder(r.Value)
		}
		for _, h := range r.Headers {
			message.Headers = append(message.Headers, sarama.RecordHeader{Key: []byte(h.Key), Value: h.Value})
		}
		messages = append(messages, message)
	}
	Must(producer.SendMessages(messages))
}

// consumer is a reader, or a member of a group with the partitions that it was given.
type consumer struct {
	messages   chan *sarama.ConsumerMessage
	close      func()
	lock       sync.Mutex
	session    sarama.ConsumerGroupSession
	assigned   []int
	rebalances int
}

func (c client) Read(topic string, partitions int, from Start) Consumer {
	reader := Got(sarama.NewConsumerFromClient(c.lookup))
	all := &consumer{messages: make(chan *sarama.ConsumerMessage, 1000)}
	var parts []sarama.PartitionConsumer
	for p := range int32(partitions) {
		at := from.Offset
		if !from.Time.IsZero() {
			at = Got(c.lookup.GetOffset(topic, p, from.Time.UnixMilli()))
		}
		part := Got(reader.ConsumePartition(topic, p, at))
		parts = append(parts, part)
		go func() {
			for message := range part.Messages() {
				all.messages <- message
			}
		}()
	}
	all.close = func() {
		for _, part := range parts {
			Must(part.Close())
		}
	}
	return all
}

func (c client) Join(group, instance string, from int64) Member {
	config := config()
	config.Consumer.Offsets.Initial = from
	config.Consumer.Offsets.AutoCommit.Enable = false
	config.Consumer.Group.InstanceId = instance
	config.Consumer.Group.Heartbeat.Interval = 500 * time.Millisecond
	members := Got(sarama.NewConsumerGroup(c.addresses(), group, config))
	member := &consumer{messages: make(chan *sarama.ConsumerMessage, 1000)}
	stop, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	member.close = func() {
		cancel()
		<-done
		Must(members.Close())
	}
	go func() {
		defer close(done)
		for stop.Err() == nil {
			if err := members.Consume(stop, []string{"shared"}, member); stop.Err() == nil {
				Must(err)
			}
		}
	}()
	return member
}

func (c *consumer) Setup(session sarama.ConsumerGroupSession) error {
	c.change(func() {
		c.session, c.rebalances, c.assigned = session, c.rebalances+1, nil
		for _, p := range session.Claims()["shared"] {
			c.assigned = append(c.assigned, int(p))
		}
	})
	return nil
}

func (c *consumer) Cleanup(sarama.ConsumerGroupSession) error {
	c.change(func() { c.assigned = nil })
	return nil
}

func (c *consumer) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for message := range claim.Messages() {
		c.messages <- message
		session.MarkMessage(message, "")
	}
	return nil
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
				record.Headers = append(record.Headers, Header{Key: string(h.Key), Value: h.Value})
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

func (c *consumer) Commit() { c.change(func() { c.session.Commit() }) }
func (c *consumer) Close()  { c.close() }

func (c client) CreateTopic(name string, partitions int, configs map[string]string) {
	detail := &sarama.TopicDetail{NumPartitions: int32(partitions), ReplicationFactor: 1}
	detail.ConfigEntries = map[string]*string{}
	for key, value := range configs {
		detail.ConfigEntries[key] = &value
	}
	Must(c.admin.CreateTopic(name, detail, false))
}

func (c client) Topics() map[string]int {
	counts := map[string]int{}
	for name, topic := range Got(c.admin.ListTopics()) {
		counts[name] = int(topic.NumPartitions)
	}
	return counts
}

func (c client) Config(topic, key string) string {
	resource := sarama.ConfigResource{Type: sarama.TopicResource, Name: topic, ConfigNames: []string{key}}
	return Got(c.admin.DescribeConfig(resource))[0].Value
}

func (c client) SetConfig(topic, key, value string) {
	set := sarama.IncrementalAlterConfigsEntry{Operation: sarama.IncrementalAlterConfigsOperationSet, Value: &value}
	entries := map[string]sarama.IncrementalAlterConfigsEntry{key: set}
	Must(c.admin.IncrementalAlterConfig(sarama.TopicResource, topic, entries, false))
}

func (c client) DeleteTopic(name string) { Must(c.admin.DeleteTopic(name)) }

func (c client) Offset(topic string, at int64) int64 {
	asked := map[string]map[int32]int64{topic: {0: at}}
	return Got(c.admin.ListOffsets(asked, nil))[topic][0].Offset
}
