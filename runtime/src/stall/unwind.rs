//! From registers and a copied stack to the names of functions, off the shards.
//!
//! Frames are found by the unwind tables that every x86_64 Linux binary carries for panics
//! (`.eh_frame`), read by framehop, which falls back to frame pointers where a table has a gap. So
//! no build needs `force-frame-pointers`. Names and lines come from the debug information by the
//! backtrace crate; a binary without it shows symbols or bare addresses.

use std::ops::Range;

use framehop::x86_64::{CacheX86_64, UnwindRegsX86_64, UnwinderX86_64};
use framehop::{ExplicitModuleSectionInfo, Module, Unwinder};

use super::capture::Registers;
use crate::limits::STALL_STACK_FRAMES;

/// Addresses of the frames, innermost first, each as it is to be looked up: within its call.
pub(super) fn frames(registers: Registers, stack: &[u64]) -> Vec<u64> {
    if registers.ip == 0 {
        return Vec::new();
    }
    let mut unwinder: UnwinderX86_64<Vec<u8>> = UnwinderX86_64::new();
    modules().into_iter().for_each(|m| unwinder.add_module(m));
    let mut read = |address: u64| {
        let offset = address.checked_sub(registers.sp).ok_or(())?;
        let index = usize::try_from(offset / 8).map_err(|_| ())?;
        stack.get(index).copied().ok_or(())
    };
    let mut cache = CacheX86_64::new();
    let start = UnwindRegsX86_64::new(registers.ip, registers.sp, registers.bp);
    let mut walk = unwinder.iter_frames(registers.ip, start, &mut cache, &mut read);
    let mut frames = Vec::new();
    while frames.len() < STALL_STACK_FRAMES
        && let Ok(Some(frame)) = walk.next()
    {
        frames.push(frame.address_for_lookup());
    }
    frames
}

/// Names of the functions at `address`, the inlined ones first, each with its place if known.
pub(super) fn describe(address: u64, into: &mut Vec<String>) {
    let before = into.len();
    // The crate takes what it is given for a return address and looks one byte lower.
    let at = usize::try_from(address + 1).unwrap_or(0);
    backtrace::resolve(std::ptr::without_provenance_mut(at), |symbol| {
        let Some(name) = symbol.name() else {
            return;
        };
        into.push(match (symbol.filename(), symbol.lineno()) {
            (Some(file), Some(line)) => format!("{name:#} ({}:{line})", file.display()),
            _ => format!("{name:#}"),
        });
    });
    if into.len() == before {
        into.push(format!("{address:#x}"));
    }
}

/// The executable and its libraries with copies of their unwind tables.
fn modules() -> Vec<Module<Vec<u8>>> {
    let mut found: Vec<Module<Vec<u8>>> = Vec::new();
    // SAFETY: `visit` is called during this call only and takes the pointer for what it is.
    unsafe { libc::dl_iterate_phdr(Some(visit), (&raw mut found).cast()) };
    found
}

/// Adds one module. The dynamic linker's lock, held around this call, keeps it loaded meanwhile;
/// that is why the tables are copied.
///
/// # Safety
/// For `dl_iterate_phdr` alone; `data` is the vector of [`modules`].
unsafe extern "C" fn visit(
    info: *mut libc::dl_phdr_info,
    _: libc::size_t,
    data: *mut libc::c_void,
) -> libc::c_int {
    // SAFETY: the linker's record is valid during the call; `data` comes from `modules`.
    let (info, found) = unsafe { (&*info, &mut *data.cast::<Vec<Module<Vec<u8>>>>()) };
    if info.dlpi_phdr.is_null() {
        return 0;
    }
    // SAFETY: the linker names as many headers as there are.
    let headers =
        unsafe { std::slice::from_raw_parts(info.dlpi_phdr, usize::from(info.dlpi_phnum)) };
    // SAFETY: the headers are those of a module loaded at that address.
    found.extend(unsafe { module(info.dlpi_addr, headers) });
    0
}

/// What unwinding needs of one module; `None` when it has no table of the usual form.
///
/// # Safety
/// `headers` describe a module that is loaded at `base` and stays so during the call.
unsafe fn module(base: u64, headers: &[libc::Elf64_Phdr]) -> Option<Module<Vec<u8>>> {
    /// Version 1, and a table pointer relative to its own place, signed, of four bytes: what GNU
    /// ld, gold, lld and mold write.
    const USUAL: [u8; 2] = [1, 0x1b];
    let range = |h: &libc::Elf64_Phdr| h.p_vaddr..h.p_vaddr + h.p_memsz;
    let loaded: Vec<Range<u64>> = headers
        .iter()
        .filter(|h| h.p_type == libc::PT_LOAD)
        .map(range)
        .collect();
    let index = headers.iter().find(|h| h.p_type == libc::PT_GNU_EH_FRAME)?;
    let index_range = range(index);
    // SAFETY: the linker says that the segment is loaded.
    let index_bytes = unsafe { copy(base, &index_range) };
    let head = index_bytes.first_chunk::<8>()?;
    if head[..2] != USUAL {
        return None;
    }
    let offset = i32::from_le_bytes([head[4], head[5], head[6], head[7]]);
    let table = index_range.start.checked_add(4)?;
    let table = table.checked_add_signed(i64::from(offset))?;
    // Its size is written nowhere that is loaded; its segment ends after it.
    let table_range = table..loaded.iter().find(|l| l.contains(&table))?.end;
    let all = loaded.iter().map(|l| l.start).min()?..loaded.iter().map(|l| l.end).max()?;
    Some(Module::new(
        String::new(),
        base + all.start..base + all.end,
        base,
        ExplicitModuleSectionInfo {
            // SAFETY: within one loaded segment.
            eh_frame: Some(unsafe { copy(base, &table_range) }),
            eh_frame_svma: Some(table_range),
            eh_frame_hdr: Some(index_bytes),
            eh_frame_hdr_svma: Some(index_range),
            ..Default::default()
        },
    ))
}

/// # Safety
/// `range` is loaded at `base` and readable.
unsafe fn copy(base: u64, range: &Range<u64>) -> Vec<u8> {
    let (Ok(at), Ok(len)) = (
        usize::try_from(base + range.start),
        usize::try_from(range.end - range.start),
    ) else {
        return Vec::new();
    };
    let from = std::ptr::with_exposed_provenance::<u8>(at);
    // SAFETY: the caller's promise.
    unsafe { std::slice::from_raw_parts(from, len) }.to_vec()
}
