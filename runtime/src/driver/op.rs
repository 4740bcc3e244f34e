//! What the driver asks of its ring and what it hears back, in words that the kernel's ring and the
//! simulated one share.

/// An operation; descriptors are numbers in the ring's own world.
#[derive(Clone, Copy, Debug)]
pub(super) enum Op {
    /// Reads the eventfd that ends a park, 8 bytes into `buffer`.
    Wake { fd: i32, buffer: *mut u64 },
    /// Accepts connections until it is cancelled or fails.
    Accept { fd: i32 },
    /// Receives into provided buffers until it is cancelled, fails or the stream ends.
    Receive { fd: i32 },
    /// Sends `len` bytes; a result below `len` means that the socket took no more.
    Send { fd: i32, bytes: *const u8, len: u32 },
    /// Ends the operation with this user data.
    Cancel { target: u64 },
}

/// The completion of an operation, or one of several of a multishot operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Done {
    /// What the operation was pushed with.
    pub(super) user_data: u64,
    /// A count, a descriptor, or a negated errno.
    pub(super) result: i32,
    /// Further completions of this operation will come.
    pub(super) more: bool,
    /// The provided buffer that the result is in.
    pub(super) buffer: Option<u16>,
}
