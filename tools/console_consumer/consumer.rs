//! A consumer for one thread: the machines of `klamm::client` wired to sockets.

use std::collections::{BTreeMap, VecDeque};
use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::Duration;

use klamm::base::{Moment, Offset};
use klamm::client::blocking::{Done, Net};
use klamm::client::fetcher::{Fetched, Fetcher, LATEST, Position};
use klamm::client::group::offsets::Committed;
use klamm::client::group::{Happened, Member};
use klamm::client::records::FetchedBatch;
use klamm::client::{ClientError, Cluster, Outgoing, PartitionName};

use crate::tools::console_consumer::formatter::Formatter;
use crate::tools::console_consumer::options::{Config, Subscription};
use crate::tools::pattern::is_internal;
use crate::tools::session::connection_options;

const BACKOFF: Duration = Duration::from_millis(100);
/// How long the end may take: the last commit, and leaving the group.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// Whose request it was; each on a connection of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Asker {
    Cluster = 0,
    Fetcher = 1,
    Member = 2,
}

/// What happened to a member of a group, for a tool that tells of it.
#[derive(Debug)]
pub(in crate::tools) enum GroupEvent {
    /// These partitions are read now.
    Assigned(Vec<PartitionName>),
    /// They are not any more.
    Revoked(Vec<PartitionName>),
    /// These positions were committed, or were not.
    Committed(BTreeMap<PartitionName, Committed>, Result<(), ClientError>),
}

pub(in crate::tools) struct Consumer {
    net: Net<Asker>,
    cluster: Cluster,
    fetcher: Fetcher,
    member: Option<Member>,
    subscription: Subscription,
    /// Topics that are read, or that the member has joined with.
    topics: Vec<Arc<str>>,
    reset: Position,
    /// What has been printed and not been committed.
    consumed: BTreeMap<PartitionName, Committed>,
    /// Partitions without a committed offset, until it is known where they begin: that is committed
    /// too, also when nothing is read.
    beginning: Vec<PartitionName>,
    auto_commit: Option<Duration>,
    commit_at: Moment,
    fetched: VecDeque<FetchedBatch>,
    /// Commits under way, the oldest first.
    committing: VecDeque<BTreeMap<PartitionName, Committed>>,
    events: Vec<GroupEvent>,
    has_left: bool,
    /// The topic is not there, and that was said.
    has_told_missing: bool,
    /// No broker can be asked, and that was said.
    has_told_lost: bool,
}

impl Consumer {
    pub(in crate::tools) fn new(config: Config) -> (Self, Formatter) {
        let options = connection_options(&config.properties, "console-consumer");
        let net = Net::new(config.bootstrap, options);
        let named = !matches!(config.subscription, Subscription::Pattern(_));
        let mut cluster = Cluster::new(config.auto_create && named, config.metadata_age, BACKOFF);
        let mut fetcher = Fetcher::new(config.fetcher.clone());
        let mut topics = Vec::new();
        match &config.subscription {
            Subscription::Pattern(_) => cluster.want_all(),
            Subscription::Topic(topic) => cluster.want(topic),
            Subscription::Partition(topic, partition, position) => {
                cluster.want(topic);
                fetcher.assign(PartitionName::new(topic, *partition), *position);
            }
        }
        if let (Subscription::Topic(topic), Some(_)) = (&config.subscription, &config.member) {
            topics.push(Arc::from(topic.as_str()));
        }
        let consumer = Self {
            commit_at: config.auto_commit.map_or(Moment::NEVER, |every| net.clock().now() + every),
            net,
            cluster,
            fetcher,
            member: config.member.map(|options| Member::new(options, &topics)),
            subscription: config.subscription,
            topics,
            // Without a position to begin with, `auto.offset.reset=none` has nothing to reset.
            reset: Position::Time(config.fetcher.reset.unwrap_or(LATEST)),
            consumed: BTreeMap::new(),
            beginning: Vec::new(),
            auto_commit: config.auto_commit,
            fetched: VecDeque::new(),
            committing: VecDeque::new(),
            events: Vec::new(),
            has_left: false,
            has_told_missing: false,
            has_told_lost: false,
        };
        (consumer, config.formatter)
    }

    pub(in crate::tools) fn now(&self) -> Moment {
        self.net.clock().now()
    }

    /// Waits for records, `until`, or one of the descriptors of `watch`.
    pub(in crate::tools) fn poll(
        &mut self,
        until: Option<Moment>,
        watch: &[RawFd],
    ) -> Result<Vec<FetchedBatch>, ClientError> {
        let now = self.now();
        self.send(now)?;
        let mut until = until.unwrap_or(Moment::NEVER).min(self.cluster.deadline());
        until = until.min(self.fetcher.deadline(now));
        if let Some(member) = &self.member {
            until = until.min(member.deadline(now)).min(self.commit_at);
        }
        let woken = self.net.wait(until, watch);
        for done in woken.done {
            self.on_answer(done)?;
        }
        Ok(self.fetched.drain(..).collect())
    }

    /// As [`Self::poll`], but keeps the records for later.
    pub(in crate::tools) fn wait(&mut self, until: Moment) -> Result<(), ClientError> {
        let batches = self.poll(Some(until), &[])?;
        self.fetched.extend(batches);
        Ok(())
    }

    /// Takes what happened in the group since the last call.
    pub(in crate::tools) fn take_events(&mut self) -> Vec<GroupEvent> {
        std::mem::take(&mut self.events)
    }

    /// Commits what was dealt with, whatever the timer says.
    pub(in crate::tools) fn commit_now(&mut self) {
        let Some(member) = &mut self.member else { return };
        let mut out = Vec::new();
        if member.commit(&self.consumed, &mut out) {
            self.committing.push_back(std::mem::take(&mut self.consumed));
        }
        self.submit(Asker::Member, out);
    }

    /// Commits under way.
    pub(in crate::tools) fn commits_under_way(&self) -> usize {
        self.committing.len()
    }

    /// A record was dealt with.
    pub(in crate::tools) fn consumed(&mut self, batch: &FetchedBatch, offset: Offset) {
        self.note(batch, Offset(offset.0 + 1));
    }

    /// All of a batch was, also what it hides.
    pub(in crate::tools) fn consumed_batch(&mut self, batch: &FetchedBatch) {
        self.note(batch, batch.next_offset());
    }

    fn note(&mut self, batch: &FetchedBatch, offset: Offset) {
        if self.member.is_some() {
            let leader_epoch = batch.header.leader_epoch.0;
            let committed = Committed { offset, leader_epoch };
            match self.consumed.get_mut(&batch.partition) {
                Some(known) => *known = committed,
                None => drop(self.consumed.insert(batch.partition.clone(), committed)),
            }
        }
    }

    /// Commits, leaves the group and waits for both, for a while.
    pub(in crate::tools) fn close(&mut self) {
        if self.member.is_none() {
            return;
        }
        let until = self.now() + CLOSE_TIMEOUT;
        self.fetcher.clear();
        self.commit();
        let mut out = Vec::new();
        let leaves = self.member.as_mut().is_some_and(|member| member.leave(&mut out));
        self.submit(Asker::Member, out);
        let is_over = |consumer: &Self| {
            let commits = consumer.member.as_ref().map_or(0, Member::commits_under_way);
            commits == 0 && (consumer.has_left || !leaves)
        };
        while !is_over(self) && self.now() < until {
            for done in self.net.wait(until, &[]).done {
                // Whatever fails now, there is nobody left to go on.
                if let Err(e) = self.on_answer(done) {
                    eprintln!("{e}");
                    return;
                }
            }
        }
    }

    fn send(&mut self, now: Moment) -> Result<(), ClientError> {
        let mut out = Vec::new();
        self.cluster.poll(now, &mut out);
        self.submit(Asker::Cluster, std::mem::take(&mut out));
        if now >= self.commit_at {
            self.commit();
            self.commit_at = self.auto_commit.map_or(Moment::NEVER, |every| now + every);
        }
        if let Some(member) = self.member.as_mut().filter(|_| !self.topics.is_empty()) {
            member.poll(&mut self.cluster, now, &mut out)?;
        }
        self.submit(Asker::Member, std::mem::take(&mut out));
        self.fetcher.poll(&mut self.cluster, now, &mut out);
        self.submit(Asker::Fetcher, out);
        Ok(())
    }

    fn submit(&mut self, asker: Asker, out: Vec<Outgoing>) {
        for outgoing in out {
            self.net.submit(asker as u8, asker, outgoing);
        }
    }

    fn on_answer(&mut self, done: Done<Asker>) -> Result<(), ClientError> {
        let now = self.now();
        match &done.result {
            Err(e) if e.is_retriable() && !self.cluster.brokers().is_empty() => {
                if !std::mem::replace(&mut self.has_told_lost, true) {
                    eprintln!("{e}; trying again");
                }
            }
            Err(_) => {}
            Ok(_) => self.has_told_lost = false,
        }
        match done.tag {
            Asker::Cluster => {
                let first = self.cluster.brokers().is_empty();
                match self.cluster.on_answer(done.id, done.result, now) {
                    Err(e) if first || !e.is_retriable() => return Err(e),
                    _ => {}
                }
                for (&node, broker) in self.cluster.brokers() {
                    self.net.learn(node, &broker.endpoint);
                }
                self.on_metadata()
            }
            Asker::Fetcher => {
                let mut out = Vec::new();
                let result = done.result;
                match self.fetcher.on_answer(done.id, result, &mut self.cluster, now, &mut out) {
                    Err(e) if !e.is_retriable() => return Err(e),
                    _ => {}
                }
                self.note_beginnings();
                for fetched in out {
                    match fetched {
                        Fetched::Batch(batch) => self.fetched.push_back(batch),
                        Fetched::Failed { error, .. } => return Err(error),
                    }
                }
                Ok(())
            }
            Asker::Member => {
                let Some(member) = &mut self.member else { return Ok(()) };
                let mut out = Vec::new();
                member.on_answer(done.id, done.result, now, &mut out)?;
                for happened in out {
                    self.on_happened(happened);
                }
                Ok(())
            }
        }
    }

    fn note_beginnings(&mut self) {
        let (fetcher, consumed) = (&self.fetcher, &mut self.consumed);
        self.beginning.retain(|partition| {
            let Some(Position::At(offset)) = fetcher.position(partition) else { return true };
            consumed.insert(partition.clone(), Committed { offset, leader_epoch: -1 });
            false
        });
    }

    /// New topics or partitions: read them, or join the group for them.
    fn on_metadata(&mut self) -> Result<(), ClientError> {
        let is_read = |name: &str| match &self.subscription {
            Subscription::Topic(topic) => topic == name,
            Subscription::Pattern(regex) => !is_internal(name) && regex.is_match(name.as_bytes()),
            Subscription::Partition(..) => false,
        };
        let refused = self.cluster.topics().iter().find(|(name, topic)| {
            let stays = topic.error.0 != 0 && !topic.error.is_retriable();
            stays && !matches!(self.subscription, Subscription::Pattern(_)) && !name.is_empty()
        });
        if let Some((name, topic)) = refused {
            let message = format!("topic {name}: {}", topic.error);
            return ClientError::check("Metadata", topic.error.0, Some(&message));
        }
        if let Subscription::Topic(topic) | Subscription::Partition(topic, ..) = &self.subscription
            && self.cluster.topic(topic).is_none()
            && !std::mem::replace(&mut self.has_told_missing, true)
        {
            eprintln!("topic {topic} does not exist; waiting for it");
        }
        let topics: Vec<Arc<str>> =
            self.cluster.topics().keys().filter(|name| is_read(name)).cloned().collect();
        if self.member.is_some() {
            let is_pattern = matches!(self.subscription, Subscription::Pattern(_));
            if is_pattern && topics != self.topics {
                self.commit();
                self.fetcher.clear();
                self.topics = topics;
                if let Some(member) = &mut self.member {
                    member.resubscribe(&self.topics);
                }
            }
            return Ok(());
        }
        let is_new = |p: &PartitionName| self.fetcher.position(p).is_none();
        let new: Vec<_> = topics
            .iter()
            .filter_map(|name| Some((name, self.cluster.topic(name)?)))
            .flat_map(|(name, t)| t.partitions.iter().map(move |p| (name, p.partition)))
            .map(|(name, partition)| PartitionName { topic: Arc::clone(name), partition })
            .filter(is_new)
            .collect();
        for partition in new {
            self.fetcher.assign(partition, self.reset);
        }
        Ok(())
    }

    fn on_happened(&mut self, happened: Happened) {
        match happened {
            Happened::Assigned(partitions) => {
                self.fetcher.clear();
                self.beginning.clear();
                let names = partitions.iter().map(|(name, _)| name.clone()).collect();
                self.events.push(GroupEvent::Assigned(names));
                for (partition, committed) in partitions {
                    if committed.is_none() && self.auto_commit.is_some() {
                        self.beginning.push(partition.clone());
                    }
                    let position = committed.map_or(self.reset, |c| Position::At(c.offset));
                    self.fetcher.assign(partition, position);
                }
            }
            Happened::Revoked => {
                let names = self.fetcher.assigned().cloned().collect();
                self.events.push(GroupEvent::Revoked(names));
                self.fetcher.clear();
                self.fetched.clear();
                self.beginning.clear();
                self.commit();
                if let Some(member) = &mut self.member {
                    member.rejoin();
                }
            }
            Happened::Committed(result) => {
                if let Err(e) = &result {
                    eprintln!("The offsets were not committed: {e}");
                }
                let offsets = self.committing.pop_front().unwrap_or_default();
                self.events.push(GroupEvent::Committed(offsets, result));
            }
            Happened::Left => self.has_left = true,
        }
    }

    fn commit(&mut self) {
        if self.auto_commit.is_some() {
            self.commit_now();
        }
    }
}
