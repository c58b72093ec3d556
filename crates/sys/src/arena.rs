//! A global allocator for programs that live a millisecond: the first allocations come out of one populated mapping.
//!
//! musl's allocator maps and unmaps memory for nearly every size class a fresh process touches first, and each page of it
//! costs a page fault: a tenth of a whole `hostel exec`, a sixth of a machine's start. Here the first [`SIZE`] bytes are handed
//! out by moving a pointer; only the block handed out last can be given back. What comes after, and all that is large, is the
//! system's, so a supervisor that lives for years grows by nothing but that.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{
    AtomicUsize,
    Ordering::{AcqRel, Acquire, Relaxed},
};

/// Bytes in the arena.
pub const SIZE: usize = 128 << 10;
/// Bytes that it may have: addresses cost nothing.
const ROOM: usize = 4 << 20;
/// Bytes that get their pages at a time: `exec` needs some 10 KiB in all, the start of a machine 45.
const CHUNK: usize = 16 << 10;
/// Larger blocks are the system's: they would use the arena up.
const LARGE: usize = 32 << 10;
/// `START` while there is no arena and will be none.
const NONE: usize = 1;

/// First byte; 0 before the first allocation. Written once.
static START: AtomicUsize = AtomicUsize::new(0);
/// Bytes that are handed out.
static LIMIT: AtomicUsize = AtomicUsize::new(SIZE);
/// First free byte.
static NEXT: AtomicUsize = AtomicUsize::new(0);

/// The allocator: `#[global_allocator] static HEAP: Arena = Arena;`
#[derive(Debug, Clone, Copy, Default)]
pub struct Arena;

/// Makes the mapping. Of two threads that do, one gives its own back.
fn set_up() -> usize {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    // SAFETY: a new anonymous mapping; nothing existing is replaced.
    let map = unsafe { libc::mmap(std::ptr::null_mut(), ROOM, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0) };
    let start = if map == libc::MAP_FAILED { NONE } else { map as usize };
    if start != NONE {
        populate(start);
    }
    // NEXT first: who sees START may use it. Only one of several threads gets to set it from 0.
    if start != NONE && NEXT.compare_exchange(0, start, AcqRel, Acquire).is_err() {
        // SAFETY: the mapping made above, which nobody has seen.
        unsafe { libc::munmap(map, ROOM) };
        // The other thread is between its two stores.
        return START.load(Acquire);
    }
    START.store(start, std::sync::atomic::Ordering::Release);
    start
}

/// Gives a chunk its pages by one call. Since Linux 5.14; before, and whenever it fails, they come as they are touched.
fn populate(chunk: usize) {
    // SAFETY: a part of our mapping, in which nothing changes but that pages of zeros appear.
    unsafe { libc::madvise(chunk as *mut libc::c_void, CHUNK, libc::MADV_POPULATE_WRITE) };
}

/// For a program that looks at a thousand files and then ends: it gives little back, and what it does is not worth the calls.
pub fn widen() {
    LIMIT.store(ROOM, Relaxed);
}

fn take(layout: Layout) -> Option<*mut u8> {
    if layout.size() > LARGE {
        return None;
    }
    let start = match START.load(Acquire) {
        0 => set_up(),
        start => start,
    };
    if start <= NONE {
        return None;
    }
    let mut next = NEXT.load(Relaxed);
    loop {
        let at = next.checked_next_multiple_of(layout.align())?;
        let end = at + layout.size();
        if end > start + LIMIT.load(Relaxed) {
            return None;
        }
        match NEXT.compare_exchange_weak(next, end, AcqRel, Relaxed) {
            Ok(_) => {
                // The first byte of a chunk; large blocks are buffers, of which little may be used.
                let (before, after) = ((next - start).div_ceil(CHUNK), (end - start).div_ceil(CHUNK));
                if before < after && before > 0 && layout.size() <= CHUNK / 2 {
                    populate(start + before * CHUNK);
                }
                return Some(at as *mut u8);
            }
            Err(now) => next = now,
        }
    }
}

fn is_ours(block: *mut u8) -> bool {
    let start = START.load(Acquire);
    start > NONE && (start..start + ROOM).contains(&(block as usize))
}

/// Moves the end of the last block from `old` to `new`; `false` when it is not the last one or there is no room.
fn move_end(old: usize, new: usize) -> bool {
    new <= START.load(Acquire) + LIMIT.load(Relaxed) && NEXT.compare_exchange(old, new, AcqRel, Relaxed).is_ok()
}

// SAFETY: blocks of the arena do not overlap, because each is a range NEXT was moved over by one thread alone, and it is
// moved back only over the block whose owner gives it up; they are aligned and of the size asked for. All others are System's,
// and go back to it.
unsafe impl GlobalAlloc for Arena {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        match take(layout) {
            Some(block) => block,
            // SAFETY: the caller's promise about `layout` is passed on.
            None => unsafe { System.alloc(layout) },
        }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        match take(layout) {
            Some(block) => {
                // SAFETY: a fresh block of this size. It may have been used and given back before.
                unsafe { block.write_bytes(0, layout.size()) };
                block
            }
            // SAFETY: as above.
            None => unsafe { System.alloc_zeroed(layout) },
        }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if is_ours(block) {
            let at = block as usize;
            move_end(at + layout.size(), at);
        } else {
            // SAFETY: not ours, so System made it, with this layout.
            unsafe { System.dealloc(block, layout) }
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if !is_ours(block) {
            // SAFETY: as in `dealloc`.
            return unsafe { System.realloc(block, layout, size) };
        }
        let at = block as usize;
        if move_end(at + layout.size(), at + size) || size <= layout.size() {
            return block;
        }
        // SAFETY: the caller promises that `size` fits the alignment; the new block is as large as what is copied, or larger.
        unsafe {
            let new = self.alloc(Layout::from_size_align_unchecked(size, layout.align()));
            if !new.is_null() {
                new.copy_from_nonoverlapping(block, layout.size());
                self.dealloc(block, layout);
            }
            new
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One test, because there is one arena in a process. It is not this process' allocator.
    #[test]
    fn blocks_are_apart_aligned_and_come_back() {
        let layout = |size, align| Layout::from_size_align(size, align).unwrap();
        // SAFETY: layouts of non-zero size; every block is written within its size and given back with its layout.
        unsafe {
            let last = Arena.alloc(layout(100, 8));
            Arena.dealloc(last, layout(100, 8));
            assert_eq!(Arena.alloc(layout(100, 8)), last, "the last block is used again");
            last.write_bytes(7, 100);
            let grown = Arena.realloc(last, layout(100, 8), 400);
            assert_eq!(grown, last, "the last block grows where it is");
            let zeroed = Arena.alloc_zeroed(layout(64, 64));
            assert!((zeroed as usize).is_multiple_of(64) && (0..64).all(|i| *zeroed.add(i) == 0));
            let moved = Arena.realloc(grown, layout(400, 8), 500);
            assert!(moved != grown && (0..100).all(|i| *moved.add(i) == 7));
            assert_eq!(Arena.realloc(moved, layout(500, 8), 10), moved);
            Arena.dealloc(zeroed, layout(64, 64));
            let again = Arena.alloc_zeroed(layout(32, 16));
            assert!((0..32).all(|i| *again.add(i) == 0));
            // Large ones, and what no longer fits, are the system's.
            let large = Arena.alloc(layout(LARGE + 1, 16));
            assert!(!is_ours(large));
            let large = Arena.realloc(large, layout(LARGE + 1, 16), 2 * LARGE);
            Arena.dealloc(large, layout(2 * LARGE, 16));
        }
        std::thread::scope(|scope| {
            for id in 1..=8u8 {
                scope.spawn(move || {
                    let mut blocks: Vec<(*mut u8, Layout)> = Vec::new();
                    for n in 0..2000usize {
                        let layout = Layout::from_size_align(1 + n % 97, 1 << (n % 5)).unwrap();
                        // SAFETY: as above.
                        unsafe {
                            let block = Arena.alloc(layout);
                            assert!(!block.is_null() && (block as usize).is_multiple_of(layout.align()));
                            block.write_bytes(id, layout.size());
                            blocks.push((block, layout));
                            if n % 3 == 0 {
                                let (block, layout) = blocks.swap_remove(n % blocks.len());
                                assert!((0..layout.size()).all(|i| *block.add(i) == id), "blocks overlap");
                                Arena.dealloc(block, layout);
                            }
                        }
                    }
                    for (block, layout) in blocks {
                        // SAFETY: as above.
                        unsafe {
                            assert!((0..layout.size()).all(|i| *block.add(i) == id), "blocks overlap");
                            Arena.dealloc(block, layout);
                        }
                    }
                });
            }
        });
    }
}
