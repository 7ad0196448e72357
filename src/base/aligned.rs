//! A fixed piece of zeroed memory that direct I/O accepts: its address is a multiple of a block.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

/// Direct I/O unit, in bytes: addresses, file positions and lengths are multiples of it.
pub const BLOCK_BYTES: usize = 4096;

/// `len` zeroed bytes at a block-aligned address; `len` is a multiple of [`BLOCK_BYTES`].
pub struct AlignedBuf {
    ptr: NonNull<u8>,
    len: usize,
}

// SAFETY: the buffer owns its memory alone; a `&AlignedBuf` only reads.
unsafe impl Send for AlignedBuf {}
// SAFETY: as above.
unsafe impl Sync for AlignedBuf {}

impl AlignedBuf {
    /// Takes `len_bytes`, rounded up to whole blocks (at least one). Pages that are never touched
    /// cost no memory.
    pub fn zeroed(len_bytes: usize) -> Self {
        let layout = Self::layout(len_bytes.max(1).next_multiple_of(BLOCK_BYTES));
        // SAFETY: the layout is never of size zero.
        let ptr = unsafe { alloc_zeroed(layout) };
        let Some(ptr) = NonNull::new(ptr) else { handle_alloc_error(layout) };
        Self { ptr, len: layout.size() }
    }

    /// Address of the first byte.
    pub fn as_ptr(&self) -> *const u8 {
        self.ptr.as_ptr()
    }

    fn layout(len: usize) -> Layout {
        #[allow(
            clippy::expect_used,
            reason = "only a length near usize::MAX fails, and no limit lets one through"
        )]
        Layout::from_size_align(len, BLOCK_BYTES).expect("length fits the address space")
    }
}

impl Drop for AlignedBuf {
    fn drop(&mut self) {
        // SAFETY: allocated in `zeroed` with this same layout.
        unsafe { dealloc(self.ptr.as_ptr(), Self::layout(self.len)) }
    }
}

impl Deref for AlignedBuf {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: `len` bytes were allocated and zeroed, and live as long as `self`.
        unsafe { std::slice::from_raw_parts(self.ptr.as_ptr(), self.len) }
    }
}

impl DerefMut for AlignedBuf {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `deref`, and `&mut self` is the only way in.
        unsafe { std::slice::from_raw_parts_mut(self.ptr.as_ptr(), self.len) }
    }
}

impl AsRef<[u8]> for AlignedBuf {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl std::fmt::Debug for AlignedBuf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AlignedBuf({} B)", self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_blocks_at_a_block_address() {
        let mut buf = AlignedBuf::zeroed(5000);
        assert_eq!(buf.len(), 2 * BLOCK_BYTES);
        assert_eq!(buf.as_ptr() as usize % BLOCK_BYTES, 0);
        buf[8191] = 7;
        assert_eq!((buf[0], buf[8191]), (0, 7));
    }
}
