//! The hashes that the Hub names contents by: SHA-256 for large files (Git LFS), git's blob hash
//! for small ones.

use std::io::{Read, Seek};

use sha1::Sha1;
use sha2::{Digest, Sha256};

use crate::system::digest::hex;
use crate::system::interrupt;
use crate::{Result, error};

/// A hash as lower-case hexadecimal digits, which are safe in every path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hash {
    /// SHA-256 of the contents.
    Sha256(String),
    /// SHA-1 of `blob LENGTH\0` and the contents. Some mirrors use the plain SHA-1 of the contents
    /// instead.
    Git(String),
}

impl Hash {
    /// The hash of 64 or 40 hexadecimal digits; nothing for other text.
    pub fn parse(text: &str) -> Option<Self> {
        let digits =
            text.bytes().all(|c| c.is_ascii_hexdigit()).then(|| text.to_ascii_lowercase())?;
        match digits.len() {
            64 => Some(Hash::Sha256(digits)),
            40 => Some(Hash::Git(digits)),
            _ => None,
        }
    }

    /// The hexadecimal digits.
    pub fn digits(&self) -> &str {
        let (Hash::Sha256(digits) | Hash::Git(digits)) = self;
        digits
    }
}

/// Hashes contents as they come.
pub enum Hasher {
    /// SHA-256.
    Sha256(Sha256),
    /// Git's hash, and the plain SHA-1 that some mirrors use.
    Git { git: Sha1, plain: Sha1 },
}

/// The hash of some contents, and the one that a mirror may call them by.
pub struct ContentHash {
    /// The hash, of the kind that the [`Hasher`] was made for.
    pub hash: Hash,
    /// The plain SHA-1 beside git's hash.
    plain: Option<String>,
}

impl ContentHash {
    /// Whether `named` is the hash of these contents.
    pub fn matches(&self, named: &Hash) -> bool {
        self.hash == *named
            || matches!((named, &self.plain), (Hash::Git(digits), Some(plain)) if digits == plain)
    }
}

impl Hasher {
    /// A hasher of the kind of `named`, or of SHA-256 if that is absent. `length` is the contents'
    /// size in bytes, which is part of git's hash.
    pub fn new(named: Option<&Hash>, length: u64) -> Self {
        match named {
            Some(Hash::Git(_)) => Hasher::Git {
                git: Sha1::new_with_prefix(format!("blob {length}\0")),
                plain: Sha1::new(),
            },
            Some(Hash::Sha256(_)) | None => Hasher::Sha256(Sha256::new()),
        }
    }

    /// Hashes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Hasher::Sha256(sha) => sha.update(bytes),
            Hasher::Git { git, plain } => {
                git.update(bytes);
                plain.update(bytes);
            }
        }
    }

    /// Hashes a file from its beginning to its end. `progress` is called with the size of each
    /// block.
    ///
    /// # Errors
    /// The file can't be read, or the run was interrupted.
    pub fn read(
        &mut self,
        file: &mut (impl Read + Seek),
        mut progress: impl FnMut(u64),
    ) -> Result<()> {
        let cannot = |e: std::io::Error| error!("it can't be read: {e}");
        file.rewind().map_err(cannot)?;
        let mut block = vec![0; 1 << 20];
        loop {
            interrupt::check()?;
            match file.read(&mut block).map_err(cannot)? {
                0 => return Ok(()),
                n => {
                    self.update(&block[..n]);
                    progress(n as u64);
                }
            }
        }
    }

    /// The hash of all bytes so far.
    pub fn finish(self) -> ContentHash {
        match self {
            Hasher::Sha256(sha) => {
                ContentHash { hash: Hash::Sha256(hex(&sha.finalize())), plain: None }
            }
            Hasher::Git { git, plain } => ContentHash {
                hash: Hash::Git(hex(&git.finalize())),
                plain: Some(hex(&plain.finalize())),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(named: &str, bytes: &[u8]) -> ContentHash {
        let mut hasher = Hasher::new(Hash::parse(named).as_ref(), bytes.len() as u64);
        hasher.read(&mut std::io::Cursor::new(bytes), |_| {}).unwrap();
        hasher.finish()
    }

    #[test]
    fn contents_have_the_hashes_that_git_and_sha256sum_give_them() {
        // printf 'hello\n' | git hash-object --stdin; the same to sha1sum and sha256sum
        for named in [
            "ce013625030ba8dba906f756967f9e9ca394464a",
            "f572d396fae9206628714fb2ce00f72e94f2258f",
            "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03",
        ] {
            let hash = Hash::parse(named).unwrap();
            assert!(found(named, b"hello\n").matches(&hash), "{named}");
            assert!(!found(named, b"hello").matches(&hash), "{named}");
        }
    }

    #[test]
    fn only_digits_of_a_known_length_are_a_hash() {
        assert_eq!(Hash::parse(&"A".repeat(64)), Some(Hash::Sha256("a".repeat(64))));
        for text in [
            "",
            "abc",
            "../../x",
            &"g".repeat(40),
            &"a".repeat(41),
            &format!("/{}", "a".repeat(63)),
        ] {
            assert_eq!(Hash::parse(text), None, "{text}");
        }
    }
}
