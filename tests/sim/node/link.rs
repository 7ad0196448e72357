//! A client's end of one connection: frames, and the requests that wait for their answers.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use klamm::base::{Moment, TopicId};
use klamm::client::connection::{ConnectionOptions, Event};
use klamm::client::{Answer, Connection};
use klamm::msg;
use klamm::runtime::network::ConnectionId;
use klamm::sim::Rng;
use klamm::wire::messages::{MetadataRequest, MetadataResponse, RequestResponsePair};

use super::facts::Facts;

/// A request that need not wait for anything is answered within this.
pub(crate) const GRACE: Duration = Duration::from_secs(10);

pub(crate) struct Link {
    pub node: usize,
    pub id: ConnectionId,
    pub connection: Connection,
    pub ready: bool,
    /// Until when each request is answered.
    pub deadlines: VecDeque<(Moment, &'static str)>,
}

impl Link {
    pub(crate) fn new(node: usize, id: ConnectionId, now: Moment) -> Self {
        let connection = Connection::new(ConnectionOptions::default());
        let deadlines = VecDeque::from([(now + GRACE, "ApiVersions")]);
        Self { node, id, connection, ready: false, deadlines }
    }

    /// Bytes came; the answers that they complete. C1 of the connection: in the order asked.
    pub(crate) fn on_bytes(&mut self, bytes: &[u8]) -> Vec<Answer> {
        let mut events = Vec::new();
        self.connection.on_bytes(bytes, &mut events).expect("answers in request order");
        let mut answers = Vec::new();
        for event in events {
            self.deadlines.pop_front();
            match event {
                Event::Ready => self.ready = true,
                Event::Answer(answer) => answers.push(answer),
            }
        }
        answers
    }
}

/// What a client can touch when it acts.
pub(crate) struct Ctx<'a> {
    pub now: Moment,
    pub rng: &'a mut Rng,
    pub facts: &'a mut Facts,
    pub link: &'a mut Link,
    /// Nothing new is begun.
    pub stopping: bool,
    /// Set to end the connection.
    pub hang_up: bool,
}

impl Ctx<'_> {
    pub(crate) fn send<R: RequestResponsePair>(&mut self, request: &R, version_max: i16) {
        self.send_waiting(request, version_max, Duration::ZERO);
    }

    /// The answer may take `wait` longer than others.
    pub(crate) fn send_waiting<R: RequestResponsePair>(
        &mut self,
        request: &R,
        version_max: i16,
        wait: Duration,
    ) {
        let sent = self.link.connection.send(request, version_max, true);
        sent.unwrap_or_else(|e| panic!("{}: {e}", R::NAME));
        self.link.deadlines.push_back((self.now + GRACE + wait, R::NAME));
    }

    pub(crate) fn later(&mut self, ms_max: usize) -> Moment {
        self.now.plus_ms(1 + self.rng.below(ms_max) as i64)
    }
}

/// A client.
pub(crate) trait Client {
    /// The node to connect to.
    fn aim(&mut self, rng: &mut Rng, nodes: usize) -> usize;
    /// Does what is due; returns when it wants to act by itself.
    fn act(&mut self, ctx: &mut Ctx<'_>) -> Moment;
    /// The answer to its oldest request.
    fn on_answer(&mut self, ctx: &mut Ctx<'_>, answer: Answer);
    /// The connection is gone, with all answers.
    fn on_lost(&mut self);
    /// The clock has jumped, and everybody knows it.
    fn on_jump(&mut self, _jump: Duration) {}
    /// Whether everything is done that it was to do, once it begins nothing new.
    fn is_done(&self, facts: &Facts) -> bool;
    /// What is overdue.
    fn overdue(&self, _facts: &Facts, _now: Moment) -> Option<String> {
        None
    }
}

/// Topics as a node described them: by name, the id and the leaders.
#[derive(Default)]
pub(crate) struct Directory {
    pub topics: BTreeMap<String, (TopicId, Vec<usize>)>,
    /// What had to be in the answer, and what could not.
    created: Vec<TopicId>,
    deleted: Vec<TopicId>,
}

impl Directory {
    pub(crate) fn ask(&mut self, ctx: &mut Ctx<'_>) {
        self.created = ctx.facts.created.keys().copied().collect();
        self.deleted.clone_from(&ctx.facts.deleted);
        ctx.send(&msg!(MetadataRequest { topics: None }), i16::MAX);
    }

    pub(crate) fn on_answer(&mut self, ctx: &mut Ctx<'_>, answer: &Answer) {
        let said: MetadataResponse = answer.decode::<MetadataRequest>().unwrap();
        let entry = |t: &klamm::wire::messages::metadata_response::MetadataResponseTopic| {
            assert_eq!(t.error_code, 0, "{:?}", t.name);
            let leaders = t.partitions.iter().map(|p| p.leader_id as usize).collect();
            (t.name.as_ref().unwrap().as_str().to_owned(), (TopicId::from(t.topic_id), leaders))
        };
        self.topics = said.topics.iter().map(entry).collect();
        let has = |id: &TopicId| self.topics.values().any(|(there, _)| there == id);
        for id in &self.created {
            assert!(has(id) || ctx.facts.is_doomed(*id), "a created topic is not there");
        }
        assert!(!self.deleted.iter().any(has), "a deleted topic is there");
    }
}
