//! What waits: the front's ring, the servants, the back (glommio), the mailbox, files, the clock.
//!
//! Each is a thin driver behind a small interface that the simulator (`sim`) implements too.
//! This is the only folder that names io-uring and glommio.

pub mod back;
pub mod clock;
pub mod cpu;
pub mod descriptors;
pub mod disk;
pub mod files;
pub mod front;
pub mod mailbox;
pub mod network;
pub mod random;
pub mod servant;
pub mod space;
pub mod threads;
pub mod waker;
