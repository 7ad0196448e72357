//! A fixed piece of zeroed memory that direct I/O accepts: its address is a multiple of a block.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

use memmap2::{MmapMut, RemapOptions};

/// Direct I/O unit, in bytes: addresses, file positions and lengths are multiples of it.
pub const BLOCK_BYTES: usize = 4096;

/// Buffers above this are mapped: the allocator would fill them with zeros at once.
const ALLOCATED_MAX: usize = 1 << 20;

/// `len` zeroed bytes at a block-aligned address; `len` is a multiple of [`BLOCK_BYTES`].
pub struct AlignedBuf {
    ptr: NonNull<u8>,
    len: usize,
    /// Where the memory comes from, if not from the allocator.
    map: Option<MmapMut>,
}

// SAFETY: the buffer owns its memory alone; a `&AlignedBuf` only reads.
unsafe impl Send for AlignedBuf {}
// SAFETY: as above.
unsafe impl Sync for AlignedBuf {}

impl AlignedBuf {
    /// Takes `len_bytes`, rounded up to whole blocks (at least one). Of a large one (over 1 MiB), pages
    /// that are never touched cost nothing.
    pub fn zeroed(len_bytes: usize) -> Self {
        if len_bytes > ALLOCATED_MAX {
            return Self::mapped(len_bytes);
        }
        let layout = Self::layout(len_bytes);
        // SAFETY: the layout is never of size zero.
        let ptr = unsafe { alloc_zeroed(layout) };
        let Some(ptr) = NonNull::new(ptr) else { handle_alloc_error(layout) };
        Self { ptr, len: layout.size(), map: None }
    }

    /// The same as pages of its own, which can [`Self::grow`] without a copy.
    pub fn mapped(len_bytes: usize) -> Self {
        let layout = Self::layout(len_bytes);
        let Ok(map) = MmapMut::map_anon(layout.size()) else { handle_alloc_error(layout) };
        Self::of_map(map, layout)
    }

    fn of_map(mut map: MmapMut, layout: Layout) -> Self {
        let Some(ptr) = NonNull::new(map.as_mut_ptr()) else { handle_alloc_error(layout) };
        Self { ptr, len: layout.size(), map: Some(map) }
    }

    /// The same bytes and zeros after them, `len_bytes` in all, which is not less than before. What is
    /// mapped is not copied.
    #[must_use]
    pub fn grow(mut self, len_bytes: usize) -> Self {
        let layout = Self::layout(len_bytes);
        if let Some(mut map) = self.map.take() {
            // There is nothing left for the drop to give back.
            self.len = 0;
            // SAFETY: the one pointer to the old place goes with `self`.
            let grown = unsafe { map.remap(layout.size(), RemapOptions::new().may_move(true)) };
            if grown.is_err() {
                handle_alloc_error(layout);
            }
            return Self::of_map(map, layout);
        }
        let mut grown = Self::mapped(len_bytes);
        grown[..self.len].copy_from_slice(&self);
        grown
    }

    /// Address of the first byte.
    pub fn as_ptr(&self) -> *const u8 {
        self.ptr.as_ptr()
    }

    fn layout(len_bytes: usize) -> Layout {
        let len = len_bytes.max(1).next_multiple_of(BLOCK_BYTES);
        #[allow(
            clippy::expect_used,
            reason = "only a length near usize::MAX fails, and no limit lets one through"
        )]
        Layout::from_size_align(len, BLOCK_BYTES).expect("length fits the address space")
    }
}

impl Drop for AlignedBuf {
    fn drop(&mut self) {
        if self.map.is_none() && self.len > 0 {
            // SAFETY: allocated in `zeroed` with this same layout.
            unsafe { dealloc(self.ptr.as_ptr(), Self::layout(self.len)) }
        }
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

    #[test]
    fn a_buffer_grows_with_its_bytes_whether_mapped_or_not() {
        for mut buf in [AlignedBuf::zeroed(5000), AlignedBuf::mapped(5000)] {
            buf[8191] = 7;
            let mut grown = buf.grow(3 << 20);
            grown[(3 << 20) - 1] = 9;
            assert_eq!((grown.len(), grown[8191], grown[8192]), (3 << 20, 7, 0));
            let grown = grown.grow(5 << 20);
            assert_eq!((grown[8191], grown[(3 << 20) - 1], grown[(5 << 20) - 1]), (7, 9, 0));
            assert_eq!(grown.as_ptr() as usize % BLOCK_BYTES, 0);
        }
    }
}
