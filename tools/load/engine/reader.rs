//! One consumer of the load: its share of the partitions, and what it read.

use klamm::base::Moment;
use klamm::client::PartitionName;
use klamm::client::fetcher::{EARLIEST, Fetched, Fetcher, FetcherOptions, LATEST, Position};

use crate::tools::load::engine::Plan;
use crate::tools::load::meter::Meter;
use crate::tools::load::payload::Head;
use crate::tools::load::verify::Checker;

/// One consumer.
pub(super) struct Reader {
    group: u32,
    pub(super) fetcher: Fetcher,
}

impl Reader {
    /// All consumers of a plan.
    pub(super) fn all(plan: &Plan) -> Vec<Self> {
        let w = &plan.workload;
        // Also where offset 0 would do: who looks offsets up finds out whether a new partition is ready.
        let start = Position::Time(if plan.is_foreign { LATEST } else { EARLIEST });
        let options = FetcherOptions {
            max_wait_ms: w.fetch_wait_ms,
            min_bytes: w.fetch_min_bytes,
            reset: Some(EARLIEST),
            ..FetcherOptions::default()
        };
        let mut readers = Vec::new();
        for topic in &plan.topics {
            for at in 0..w.groups * w.consumers {
                let mut fetcher = Fetcher::new(options.clone());
                let share = (0..w.partitions).filter(|p| p % w.consumers == at % w.consumers);
                for partition in share {
                    fetcher.assign(PartitionName::new(topic, partition as i32), start);
                }
                readers.push(Self { group: at / w.consumers, fetcher });
            }
        }
        readers
    }

    /// Whether it knows where to begin in each of its partitions.
    pub(super) fn is_ready(&self) -> bool {
        let is_known = |p| matches!(self.fetcher.position(p), Some(Position::At(_)));
        self.fetcher.assigned().all(is_known)
    }

    /// Counts what came. Records of other runs are passed over.
    pub(super) fn count(
        &self,
        found: Fetched,
        run: u32,
        now: Moment,
        (meter, checker): (&mut Meter, &mut Option<Checker>),
    ) -> Result<(), String> {
        let batch = match found {
            Fetched::Batch(batch) => batch,
            Fetched::Failed { error, .. } => return Err(error.to_string()),
        };
        for record in batch.records() {
            let record = record.map_err(|e| format!("{}: {e}", batch.partition))?.record;
            let Some(value) = record.value else { continue };
            let Some(head) = Head::read(value).filter(|h| h.run == run) else { continue };
            meter.consumed(Moment(head.intended_ns), now);
            if let Some(checker) = checker {
                let whose = (self.group, head.producer, batch.partition.partition);
                checker.read(whose, record.key, value);
            }
        }
        Ok(())
    }
}
