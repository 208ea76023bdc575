//! Small changes to bytes, chosen by a seed.

/// Numbers that look random and are the same everywhere.
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below `limit`, which is at least 1.
    pub fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 11).unwrap() % limit.max(1)
    }

    /// One of `choices`.
    pub fn pick<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.below(choices.len())]
    }
}

/// How many cases of a kind: `usual`, or as many times that as the environment says.
pub fn cases(usual: usize) -> usize {
    let factor = std::env::var("SLOTKEEPER_BAD_INPUTS").ok().and_then(|factor| factor.parse().ok());
    usual * factor.unwrap_or(1_usize)
}

/// `bytes` with one to four changes: a flipped bit, another byte, a length that lies, a cut, a doubled or inserted part.
pub fn mutated(bytes: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..=dice.below(4) {
        let at = dice.below(bytes.len());
        match dice.below(8) {
            _ if bytes.is_empty() => bytes.push(0),
            0 => bytes[at] ^= 1 << dice.below(8),
            1 => bytes[at] = *dice.pick(&[0, 1, 127, 128, 250, 251, 252, 253, 254, 255]),
            2 => bytes.truncate(at),
            3 => bytes.extend_from_slice(&[0; 3]),
            // 253 begins an integer of eight bytes in the stored form.
            4 => drop(bytes.splice(at..=at, [253, 255, 255, 255, 255, 255, 255, 255, 127])),
            5 => {
                let end = (at + 1 + dice.below(16)).min(bytes.len());
                let part = bytes[at..end].to_vec();
                drop(bytes.splice(at..at, part));
            }
            6 => {
                let end = (at + 1 + dice.below(16)).min(bytes.len());
                bytes.drain(at..end);
            }
            _ => bytes[at] = bytes[at].wrapping_add(1),
        }
    }
    bytes
}
