//! Changes to an input, drawn from a seed.

/// Numbers of which many a reader is afraid.
const NUMBERS: &[i64] = &[
    0,
    1,
    -1,
    2,
    7,
    8,
    127,
    128,
    255,
    256,
    65_535,
    65_536,
    1 << 31,
    (1 << 31) - 1,
    1 << 32,
    i64::MAX,
    i64::MIN,
];

/// As they stand in a text.
const WRITTEN: &[&str] = &[
    "0",
    "-1",
    "1",
    "0.0",
    "-0.0",
    "1e308",
    "1e-308",
    "1e999",
    "4294967296",
    "9223372036854775807",
    "18446744073709551615",
    "null",
    "true",
    "\"\"",
    "[]",
    "{}",
    "\u{1b}]0;x\u{7}",
    "\u{202e}",
    "\\u0000",
];

/// xorshift64*
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Below `n`, and 0 where there is nothing below.
    fn below(&mut self, n: usize) -> usize {
        (self.next() >> 16) as usize % n.max(1)
    }

    fn of<'a, T: ?Sized>(&mut self, all: &[&'a T]) -> &'a T {
        all[self.below(all.len())]
    }

    /// One of `inputs`, with some changes.
    pub fn changed(&mut self, inputs: &[Vec<u8>], words: &[&str]) -> Vec<u8> {
        let mut input = inputs[self.below(inputs.len())].clone();
        for _ in 0..=self.below(4) {
            self.change(&mut input, inputs, words);
        }
        input.truncate(1 << 20);
        input
    }

    fn change(&mut self, input: &mut Vec<u8>, inputs: &[Vec<u8>], words: &[&str]) {
        let at = self.below(input.len() + 1);
        let some = at + self.below((input.len() - at).min(64) + 1);
        match self.below(10) {
            0 if at < input.len() => input[at] ^= 1 << self.below(8),
            1 if at < input.len() => input[at] = self.next() as u8,
            2 => drop(input.drain(at..some)),
            3 => {
                let copy = input[at..some].to_vec();
                let to = self.below(input.len() + 1);
                input.splice(to..to, copy.repeat(1 + self.below(8)));
            }
            4 => {
                let number = NUMBERS[self.below(NUMBERS.len())].to_le_bytes();
                let width = [1, 2, 4, 8][self.below(4)];
                let end = (at + width).min(input.len());
                input.splice(at..end, number[..width].iter().copied());
            }
            5 => self.rewrite(input, at),
            6 if !words.is_empty() => {
                let word = self.of(words);
                input.splice(at..at, word.bytes());
            }
            7 => {
                let other = &inputs[self.below(inputs.len())];
                let from = self.below(other.len() + 1);
                let to = from + self.below(other.len() - from + 1);
                input.splice(at..some, other[from..to].iter().copied());
            }
            8 => input.truncate(at),
            _ => {
                let deep = self.of(&["[", "{\"a\":", "(", "/*", "`${", "((", "//! "]);
                input.splice(at..at, deep.repeat(1 << self.below(12)).bytes());
            }
        }
    }

    /// Another number in the place of one, or a value in the place of a text.
    fn rewrite(&mut self, input: &mut Vec<u8>, at: usize) {
        let digits = |byte: &u8| byte.is_ascii_digit() || b".-+eE".contains(byte);
        let Some(start) =
            input[at..].iter().position(|byte| byte.is_ascii_digit()).map(|offset| at + offset)
        else {
            return;
        };
        let end = start + input[start..].iter().take_while(|byte| digits(byte)).count();
        let written = self.of(WRITTEN);
        input.splice(start..end, written.bytes());
    }
}
