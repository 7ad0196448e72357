//! What a client may do, as bits that Metadata and its kin tell. Without security everybody may do
//! everything.

/// Of a topic: read, write, create, delete, alter, describe, and describe and alter its settings.
pub(super) const TOPIC: i32 = bits(&[3, 4, 5, 6, 7, 8, 10, 11]);
/// Of the cluster: create, alter, describe, act for it, describe and alter its settings, and write
/// idempotently.
pub(super) const CLUSTER: i32 = bits(&[5, 7, 8, 9, 10, 11, 12]);
/// The client did not ask.
pub(super) const NOT_ASKED: i32 = i32::MIN;
/// What is said where rules would be changed.
pub(super) const NO_AUTHORIZER: &str = "No Authorizer is configured.";
/// Kind and name of whoever has not authenticated.
pub(super) const USER: &str = "User";
pub(super) const ANONYMOUS: &str = "ANONYMOUS";

const fn bits(operations: &[i32]) -> i32 {
    let (mut sum, mut i) = (0, 0);
    while i < operations.len() {
        sum |= 1 << operations[i];
        i += 1;
    }
    sum
}

const _: () = assert!(TOPIC == 3576 && CLUSTER == 8096);
