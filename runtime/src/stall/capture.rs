//! What a signal handler can safely take of the thread it interrupted: three registers and the
//! upper part of its stack. Making a list of frames of it is left to the watchdog.

use std::io;

/// The registers that unwinding starts from; all 0 on an architecture that is not x86_64.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Registers {
    pub(super) ip: u64,
    pub(super) sp: u64,
    pub(super) bp: u64,
}

/// Reads the registers at the point of interruption.
///
/// # Safety
/// `context` is the third argument of a handler installed with `SA_SIGINFO`.
#[cfg(target_arch = "x86_64")]
pub(super) unsafe fn registers(context: *const libc::c_void) -> Registers {
    const IP: usize = libc::REG_RIP as usize;
    const SP: usize = libc::REG_RSP as usize;
    const BP: usize = libc::REG_RBP as usize;
    // SAFETY: the kernel passes a `ucontext_t` that lives as long as the handler.
    let general = unsafe { &(*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs };
    Registers {
        ip: general[IP].cast_unsigned(),
        sp: general[SP].cast_unsigned(),
        bp: general[BP].cast_unsigned(),
    }
}

/// On other architectures a report names actor and message without a stack.
///
/// # Safety
/// None; the same as on x86_64.
#[cfg(not(target_arch = "x86_64"))]
pub(super) unsafe fn registers(_context: *const libc::c_void) -> Registers {
    Registers::default()
}

/// Copies `to.len()` words from address `from`.
///
/// # Safety
/// Those words belong to the stack of the calling thread, above its stack pointer.
pub(super) unsafe fn copy_words(from: u64, to: &mut [u64]) {
    // Not `ptr::copy`: the copy crosses the frames of functions that are under way, whose guard
    // zones AddressSanitizer would report.
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the caller vouches for the source, the slice is the target, both of the same length;
    // the direction flag is clear, as the ABI demands at every call and the kernel in a handler.
    unsafe {
        std::arch::asm!(
            "rep movsq",
            inout("rcx") to.len() => _,
            inout("rsi") from => _,
            inout("rdi") to.as_mut_ptr() => _,
            options(nostack, preserves_flags),
        );
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (from, to);
}

/// Lowest address of the calling thread's stack, and the first one above it.
pub(super) fn stack_bounds() -> io::Result<(u64, u64)> {
    // SAFETY: an all-zero `pthread_attr_t` is what `pthread_getattr_np` initialises; it is read
    // only after success and destroyed once.
    unsafe {
        let mut attributes: libc::pthread_attr_t = std::mem::zeroed();
        check(libc::pthread_getattr_np(
            libc::pthread_self(),
            &raw mut attributes,
        ))?;
        let (mut low, mut size) = (std::ptr::null_mut(), 0);
        let found = libc::pthread_attr_getstack(&raw const attributes, &raw mut low, &raw mut size);
        libc::pthread_attr_destroy(&raw mut attributes);
        check(found)?;
        let low = low.addr() as u64;
        Ok((low, low + size as u64))
    }
}

/// The pthread functions return the error instead of setting `errno`.
fn check(code: libc::c_int) -> io::Result<()> {
    if code == 0 {
        Ok(())
    } else {
        Err(io::Error::from_raw_os_error(code))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn the_bounds_hold_the_stack_pointer() {
        // Not the address of a local: AddressSanitizer moves those elsewhere.
        let sp: u64;
        // SAFETY: it reads a register.
        unsafe { std::arch::asm!("mov {}, rsp", out(reg) sp, options(nomem, nostack)) };
        let (low, high) = stack_bounds().unwrap();
        assert!(low < sp && sp < high, "{sp:x} in {low:x}..{high:x}");
    }

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn words_are_copied_and_no_more_of_them() {
        let from = [11_u64, 22, 33, 44];
        let mut to = [0; 4];
        // SAFETY: the source is the array above.
        unsafe { copy_words(from.as_ptr().addr() as u64, &mut to[..3]) };
        assert_eq!(to, [11, 22, 33, 0]);
    }
}
