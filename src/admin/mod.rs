//! Seen from outside: `/metrics`, `/healthz` and `/readyz` on one HTTP port of the server.
//!
//! Flow: a request arrives on the endpoint's own thread ([`http`]) -> mail to every node -> each
//! answers from its next turn (`shard::observe`) -> the page (`kafka`, `own`). A node that does
//! not answer within 2 s is reported as such, and the page tells of the others.
//!
//! Deliberately absent: anything that changes state, authentication, TLS.

pub mod http;
mod kafka;
mod own;

use std::time::Duration;

use tokio::time::Instant;

use crate::metrics::text::Page;
use crate::runtime::mailbox::Sender;
use crate::shard::Mail;
use crate::shard::observe::{Cluster, Counts, Observed};

/// How long a node may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// The nodes of the server.
#[derive(Clone)]
pub struct Nodes {
    boxes: Vec<Sender<Mail>>,
}

/// What came of a question to a node.
type Reply = Option<Observed>;

impl Nodes {
    /// Those with these mailboxes, in the order of their ids.
    pub fn new(boxes: Vec<Sender<Mail>>) -> Self {
        Self { boxes }
    }

    /// Asks all of them at once.
    async fn ask(&self, whole: bool) -> Vec<Reply> {
        let until = Instant::now() + ANSWER_WITHIN;
        let ask = |inbox: &Sender<Mail>| {
            let (to, answer) = async_channel::bounded(1);
            // A full box is a node that does not turn: nothing will come.
            let _ = inbox.try_send(Mail::Observe { whole, to });
            answer
        };
        let answers: Vec<_> = self.boxes.iter().map(ask).collect();
        let mut replies = Vec::new();
        for answer in answers {
            let reply = tokio::time::timeout_at(until, answer.recv()).await;
            replies.push(reply.ok().and_then(Result::ok));
        }
        replies
    }

    /// Whether every node turns and can keep its promises; else which one does not.
    async fn health(&self) -> Result<(), String> {
        let all = self.ask(false).await;
        let sick = |(place, reply): (usize, &Reply)| match reply {
            None => Some(format!("the node at place {place} does not answer\n")),
            Some(node) if node.failed => {
                Some(format!("the journal of node {} failed\n", node.node))
            }
            Some(_) => None,
        };
        all.iter().enumerate().find_map(sick).map_or(Ok(()), Err)
    }

    /// Whether every node accepts connections; else which one does not.
    async fn readiness(&self) -> Result<(), String> {
        self.health().await?;
        let all = self.ask(false).await;
        match all.iter().flatten().find(|node| !node.ready) {
            Some(node) => Err(format!("node {} does not accept connections\n", node.node)),
            None => Ok(()),
        }
    }

    /// The metrics of all nodes.
    async fn metrics(&self) -> String {
        let replies = self.ask(true).await;
        let mut page = Page::default();
        own::up(&mut page, &replies);
        let nodes: Vec<Seen<'_>> = replies.iter().flatten().filter_map(Seen::of).collect();
        own::write(&mut page, &nodes);
        kafka::write(&mut page, &nodes);
        page.finish()
    }
}

/// A node that has answered.
struct Seen<'a> {
    /// Its id, as a label has it.
    id: String,
    node: &'a Observed,
    counts: &'a Counts,
    /// Of the node that holds the controller.
    controller: Option<Cluster>,
}

impl<'a> Seen<'a> {
    fn of(node: &'a Observed) -> Option<Self> {
        let counts = node.counts.as_deref()?;
        let controller = counts.controller.as_deref().map(Cluster::of);
        Some(Self { id: node.node.to_string(), node, counts, controller })
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;
    use crate::base::{NodeId, WallMs};
    use crate::runtime::mailbox::{Receiver, mailbox};
    use crate::runtime::waker::Waker;

    /// Two nodes that answer: the first is well, the second `ready` and `failed`.
    async fn serve(inboxes: [Receiver<Mail>; 2], (ready, failed): (bool, bool)) -> Infallible {
        loop {
            for (place, inbox) in inboxes.iter().enumerate() {
                let Some(mail) = inbox.try_recv() else { continue };
                let Mail::Observe { whole: false, to } = mail else { panic!("{mail:?}") };
                let (ready, failed) = if place == 1 { (ready, failed) } else { (true, false) };
                let (node, wall) = (NodeId(place as i32), WallMs(0));
                let _ =
                    to.try_send(Observed { node, thread: 0, ready, failed, wall, counts: None });
            }
            tokio::task::yield_now().await;
        }
    }

    /// What comes of asking for health and for readiness.
    fn told(second: (bool, bool)) -> [String; 2] {
        let (sender, inbox) = mailbox(2, Waker::new().unwrap());
        let (other, its) = mailbox(2, Waker::new().unwrap());
        let nodes = Nodes::new(vec![sender, other]);
        let asked = async { [nodes.health().await, nodes.readiness().await] };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let told = runtime.block_on(async {
            tokio::select! {
                told = asked => told,
                never = serve([inbox, its], second) => match never {},
            }
        });
        told.map(|told| told.err().unwrap_or_default())
    }

    #[test]
    fn one_node_that_failed_or_is_not_ready_is_told_for_all() {
        assert_eq!(told((true, false)), ["", ""]);
        assert_eq!(told((false, false)), ["", "node 1 does not accept connections\n"]);
        assert_eq!(told((true, true)), ["the journal of node 1 failed\n"; 2]);
    }
}
