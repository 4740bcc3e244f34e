//! Damage to requests, at random by a fixed seed.

/// xorshift64*: enough randomness to damage bytes, the same on every run.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let high = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33;
        usize::try_from(high).expect("31 bits") % bound
    }

    /// Changes a few bytes, or moves pieces about.
    pub(crate) fn damage(&mut self, request: &mut Vec<u8>) {
        const TELLING: &[u8] = b"\r\n :,;\"\\{}[]0-+.eE\0\x7f\xff/?=%";
        for _ in 0..=self.below(4) {
            let at = self.below(request.len());
            let byte = TELLING[self.below(TELLING.len())];
            match self.below(5) {
                0 => request[at] = byte,
                1 => request.insert(at, byte),
                2 => drop(request.remove(at)),
                3 => request[at] ^= 1 << self.below(8),
                _ => {
                    let end = (at + self.below(40)).min(request.len());
                    let piece = request[at..end].to_vec();
                    let to = self.below(request.len());
                    request.splice(to..to, piece);
                }
            }
        }
    }
}
