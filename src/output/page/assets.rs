//! The script and the style of pages. Both are made by `web/build.sh` of what is in `web`, with the
//! drawing library uPlot in it.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

/// The script.
pub const SCRIPT: &str = include_str!("web/page.js");

/// The style.
pub const STYLE: &str = include_str!("web/page.css");

/// What a page may do, as a Content-Security-Policy: run this script, use this style, and nothing
/// else. `connect` is whether it may talk to the server that it came from.
pub fn policy(connect: bool) -> String {
    static HASHES: LazyLock<(String, String)> = LazyLock::new(|| (hash(SCRIPT), hash(STYLE)));
    let (script, style) = &*HASHES;
    let connect = if connect { "connect-src 'self'; " } else { "" };
    format!(
        "default-src 'none'; script-src '{script}'; style-src '{style}'; img-src data:; {connect}\
         base-uri 'none'; form-action 'none'"
    )
}

/// How a policy names a text.
fn hash(text: &str) -> String {
    format!("sha256-{}", STANDARD.encode(Sha256::digest(text.as_bytes())))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::system::digest::sha256_hex;

    /// What the script is made of, in the order in which `build.sh` reads it.
    fn sources() -> Vec<u8> {
        let web = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/output/page/web");
        let own = std::fs::read_dir(web.join("src")).unwrap().map(|entry| entry.unwrap().path());
        let mut files: Vec<_> = own.collect();
        files.push(web.join("package-lock.json"));
        files.push(web.join("build.sh"));
        files.sort_by_key(|path| path.file_name().unwrap().to_owned());
        files.iter().flat_map(|path| std::fs::read(path).unwrap()).collect()
    }

    #[test]
    fn the_script_is_made_of_what_is_here() {
        let (first, _) = SCRIPT.split_once('\n').unwrap();
        assert_eq!(
            first,
            format!("/* sources: {} */", sha256_hex(&sources())),
            "src/output/page/web/build.sh makes it anew"
        );
    }

    #[test]
    fn neither_can_end_its_element() {
        assert!(!SCRIPT.to_lowercase().contains("</script") && !SCRIPT.contains("<!--"));
        assert!(!STYLE.to_lowercase().contains("</style"));
        assert!(SCRIPT.len() + STYLE.len() < 200_000, "a page stays below 500 KB");
        assert!(SCRIPT.contains("MIT License"), "the library's licence goes with it");
    }
}
