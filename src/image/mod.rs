//! The metadata image: nodes, topics, partitions and settings of the cluster, as one value.
//!
//! Flow: `controller` decides records -> the metadata log holds them -> [`Image::apply`] turns the
//! image into the next -> every shard gets it as an `Arc` and never sees a change half made.
//!
//! `records` is the form on disk, `image` the form in memory. An image turns back into records
//! ([`Image::records`]), which is its snapshot.

mod bootstrap;
pub mod error;
#[allow(clippy::module_inception, reason = "the folder is named for the value it holds")]
mod image;
pub mod records;
#[allow(
    warnings,
    unsafe_op_in_unsafe_fn,
    clippy::all,
    clippy::pedantic,
    clippy::undocumented_unsafe_blocks,
    clippy::unwrap_used,
    clippy::allow_attributes_without_reason,
    reason = "written by flatc"
)]
mod records_generated;
pub mod steps;

pub use bootstrap::{
    CONSUMER_OFFSETS, SHARE_GROUP_STATE, TRANSACTION_STATE, bootstrap, is_internal_topic,
};
pub use error::ImageError;
pub use image::{Delta, Image, Topic};
pub use records::{Node, Partition, Record, Resource, decode, encode};
