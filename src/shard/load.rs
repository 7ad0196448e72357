//! Reading a log back from its start, to rebuild what its records say: the metadata image, groups.
//!
//! A log is read in slices, so that a long one does not hold up the node: large ones of all logs while nobody
//! can reach it yet, and then a small one of one log in a turn. What is not in memory is fetched by the
//! back, and the loading goes on when it is there.

use std::sync::Arc;

use crate::base::{Moment, Offset};
use crate::controller::Controller;
use crate::image::{self, Image};
use crate::shard::Shard;
use crate::shard::metadata::{Publisher, whole};
use crate::storage::{LogId, Read};
use crate::wire::batch::{self, HEADER_BYTES};
use crate::wire::codec::Codec;
use crate::wire::record;

const SLICE_BYTES: usize = 4 << 20;
/// Of a node that serves clients; or one batch, if that is larger.
const SERVING_SLICE_BYTES: usize = 16 << 10;
/// Decompressed size of one batch of an internal topic.
const BATCH_BYTES_MAX: usize = 64 << 20;

/// A log that is being read back.
#[derive(Debug)]
pub(super) struct Loading {
    log: LogId,
    at: Offset,
    end: Offset,
    since: Moment,
    what: What,
}

#[derive(Debug)]
enum What {
    /// The metadata log, and the image so far.
    Metadata(Image),
    /// A partition of the offsets topic.
    Groups(i32),
}

/// What one step came to.
enum Step {
    Read,
    Waits,
    Done,
    Failed(String),
}

impl Shard {
    /// Begins to read the metadata log.
    pub(super) fn load_metadata(&mut self, log: LogId) {
        self.begin_load(log, What::Metadata(Image::default()));
    }

    /// This node begins to lead a partition of the offsets topic: its groups are read back.
    pub(super) fn load_groups(&mut self, log: LogId, partition: i32) {
        self.loading.retain(|loading| loading.log != log);
        self.ask_groups(|groups, _, out| groups.load(partition, out));
        self.begin_load(log, What::Groups(partition));
    }

    fn begin_load(&mut self, log: LogId, what: What) {
        let Some(state) = self.store.log(log) else { return };
        let (at, end, failed) = (state.log_start(), state.log_end(), state.is_failed());
        let is_cut = matches!(what, What::Metadata(_)) && at > Offset(0);
        let mut loading = Loading { log, at, end, since: self.now, what };
        if failed {
            // What came after its damage is missing.
            loading.at = end;
            self.load_failed(&loading, "it is damaged; `error` of another line says how");
        } else if is_cut {
            self.load_failed(&loading, "it does not begin at offset 0");
        } else {
            self.loading.push(loading);
        }
    }

    /// Reads on. Returns whether it wants to be called again in the next turn.
    pub fn load(&mut self) -> bool {
        if self.loading.is_empty() {
            return false;
        }
        let (mut read, mut done) = (Vec::new(), false);
        for mut loading in std::mem::take(&mut self.loading) {
            if self.ready && !read.is_empty() {
                self.loading.push(loading);
                continue;
            }
            match self.load_slice(&mut loading) {
                Step::Read => read.push(loading),
                Step::Waits => self.loading.push(loading),
                Step::Done => {
                    done = true;
                    self.loaded(loading);
                }
                Step::Failed(why) => self.load_failed(&loading, &why),
            }
        }
        let again = done || !read.is_empty();
        // The others come before it in the next turn.
        self.loading.append(&mut read);
        again
    }

    fn load_slice(&mut self, loading: &mut Loading) -> Step {
        if loading.at >= loading.end {
            return Step::Done;
        }
        let (at, end) = (loading.at, loading.end);
        let slice_bytes = if self.ready { SERVING_SLICE_BYTES } else { SLICE_BYTES };
        match self.store.read(loading.log, at, end, slice_bytes, true) {
            Err(e) => Step::Failed(e.to_string()),
            Ok(Read::Pending) => Step::Waits,
            Ok(Read::Ready(batches)) => {
                let bytes: Vec<u8> = batches.parts.concat();
                for (header, whole) in batch::iter(&bytes) {
                    if header.last_offset() < at {
                        continue;
                    }
                    if let Err(why) = self.load_batch(loading, &header, whole) {
                        return Step::Failed(why);
                    }
                    loading.at = header.next_offset();
                }
                if loading.at == at { Step::Failed("no whole batch".into()) } else { Step::Read }
            }
        }
    }

    fn load_batch(
        &mut self,
        loading: &mut Loading,
        header: &batch::BatchHeader,
        whole: &[u8],
    ) -> Result<(), String> {
        let codec = Codec::from_id(header.codec_id()).ok_or("unknown codec")?;
        let plain = codec.decompress(&whole[HEADER_BYTES..], BATCH_BYTES_MAX);
        let plain = plain.map_err(|e| e.to_string())?;
        let mut changes = Vec::new();
        for read in record::records(&plain, header.count) {
            let record = read.map_err(|e| e.to_string())?;
            match &loading.what {
                What::Metadata(_) => {
                    let value = record.value.unwrap_or_default();
                    changes.push(image::decode(value).map_err(|e| e.to_string())?);
                }
                What::Groups(partition) => {
                    let key = record.key.unwrap_or_default();
                    if let Err(error) = self.groups.replay(*partition, key, record.value) {
                        tracing::warn!(partition, %error, "a group record was skipped");
                    }
                }
            }
        }
        if let What::Metadata(image) = &mut loading.what {
            *image = image.apply(&changes).map_err(|e| e.to_string())?.0;
        }
        Ok(())
    }

    fn loaded(&mut self, loading: Loading) {
        match loading.what {
            What::Metadata(image) => self.metadata_loaded(loading.log, image),
            What::Groups(partition) => {
                self.metrics.on_group_load(self.now.since(loading.since));
                self.ask_groups(|groups, at, out| groups.loaded(partition, at, out));
            }
        }
    }

    fn load_failed(&mut self, loading: &Loading, why: &str) {
        match loading.what {
            What::Metadata(_) => self.metadata_failed(loading.at, why),
            // Its groups are not available: clients try again, and nothing is lost.
            What::Groups(partition) => {
                let offset = loading.at.0;
                tracing::error!(partition, offset, why, "group records cannot be read");
                self.groups.load_failed(partition);
            }
        }
    }

    /// Without all of the metadata this node would go by a part of the topics: it stops.
    pub(super) fn metadata_failed(&mut self, at: Offset, why: &str) {
        tracing::error!(offset = at.0, why, "the metadata log cannot be read");
        self.failed = true;
    }

    /// The image is known; what the server was started with may change it.
    fn metadata_loaded(&mut self, log: LogId, image: Image) {
        let start = std::mem::take(&mut self.start);
        if ![&*start.cluster_id, ""].contains(&image.cluster_id()) {
            let (own, other) = (image.cluster_id(), &start.cluster_id);
            let why = format!("it is of the cluster {own}, and meta.properties says {other}");
            return self.metadata_failed(Offset(0), &why);
        }
        let config = Arc::clone(&self.config);
        let mut controller = Controller::new(&image, self.node, &config, &mut self.random);
        let records = controller.register(&start.cluster_id, start.nodes);
        let image = Arc::new(image);
        let mut publisher = Publisher::new(log, Arc::clone(&image), start.shards);
        if records.is_empty() {
            let number = publisher.publish_whole(&mut self.post);
            self.publisher = Some(publisher);
            let delta = Arc::new(whole(&image));
            self.take_image(image, delta, number);
            return;
        }
        self.publisher = Some(publisher);
        if let Err(e) = self.propose(&records, None) {
            tracing::error!(error = %e, "the first metadata records cannot be written");
            self.failed = true;
        }
        if let Some(publisher) = &mut self.publisher {
            publisher.propose_whole();
        }
    }
}
