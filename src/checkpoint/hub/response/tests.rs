//! What the Hub says, and what a stranger in its place may say.

use proptest::prelude::*;

use super::*;

const COMMIT: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
    let pair = |(name, value): &(&str, &str)| {
        (HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap())
    };
    pairs.iter().map(pair).collect()
}

#[test]
fn an_etag_is_a_hash_or_nothing() {
    let of =
        |tag: &str| parse_file_metadata(&headers(&[("ETag", tag)]), false, COMMIT).unwrap().hash;
    let sha = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";
    for tag in [format!("\"{sha}\""), format!("W/\"{sha}\""), sha.to_uppercase(), sha.to_owned()] {
        assert_eq!(of(&tag), Some(Hash::Sha256(sha.into())), "{tag}");
    }
    for tag in [
        "\"/home/me/x\"",
        "\"../../../../x\"",
        "\"\"",
        "\"abc\"",
        &format!("\"../{}\"", &sha[3..]),
        "\"a-5\"",
    ] {
        assert_eq!(of(tag), None, "{tag}");
    }
    let both =
        headers(&[("ETag", "\"of the CDN\""), ("X-Linked-Etag", sha), ("X-Linked-Size", "7")]);
    let expected = FileMetadata { hash: Some(Hash::Sha256(sha.into())), size: Some(7) };
    assert_eq!(parse_file_metadata(&both, true, COMMIT).unwrap(), expected);
}

#[test]
fn what_is_not_what_was_asked_for_is_refused() {
    for (name, value, says) in [
        ("X-Repo-Commit", "../../../x", "the Hub names its commit \"../../../x\", which is none"),
        ("X-Repo-Commit", &"b".repeat(40), "it comes of the commit bbbb"),
        ("X-Linked-Size", "-1", "its size is no number: \"-1\""),
        ("X-Linked-Size", "18446744073709551616", "its size is no number"),
    ] {
        let said =
            parse_file_metadata(&headers(&[(name, value)]), true, COMMIT).unwrap_err().to_string();
        assert!(said.starts_with(says), "{said}");
    }
}

#[test]
fn a_listing_has_a_commit_and_names_of_files() {
    let json = br#"{"sha": "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "siblings": [{"rfilename": "config.json"},
        {"rfilename": "../../x"}, {"rfilename": "/etc/passwd"}, {"rfilename": "a\\b"}, {"rfilename": "\u0000"}]}"#;
    assert_eq!(
        parse_listing(json, "main").unwrap(),
        Listing { commit: COMMIT.into(), files: vec!["config.json".into()] }
    );
    for (json, revision, says) in [
        (
            "{\"sha\": \"../../x\"}",
            "main",
            "the Hub gave no commit for \"main\": \"../../x\" is none",
        ),
        ("{}", "main", "the Hub gave no commit for \"main\""),
        ("{\"sha\": 7}", "main", "what answers is not the Hub"),
        ("{\"siblings\": {}}", "main", "what answers is not the Hub"),
        ("[]", "main", "what answers is not the Hub"),
        (
            "{\"sha\": \"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"}",
            "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb",
            "the Hub gave the commit aaaa",
        ),
    ] {
        let said = parse_listing(json.as_bytes(), revision).unwrap_err().to_string();
        assert!(said.starts_with(says), "{json}: {said}");
    }
}

#[test]
fn a_part_is_taken_only_if_it_is_the_rest() {
    let of = |value: &str| resumed_size(&headers(&[("Content-Range", value)]), 100);
    assert_eq!(of("bytes 100-999/1000"), Some(1000));
    for value in [
        "bytes 0-999/1000",
        "bytes 100-998/1000",
        "bytes 100-999/*",
        "bytes 100-18446744073709551615/0",
        "bytes -100-999/1000",
        "bytes */1000",
        "100-999/1000",
        "",
    ] {
        assert_eq!(of(value), None, "{value}");
    }
}

#[test]
fn a_redirect_leads_where_the_client_goes() {
    let home = Url::parse("https://hub.example/api/x").unwrap();
    for (location, to, same) in [
        ("/other", "https://hub.example/other", true),
        ("other", "https://hub.example/api/other", true),
        ("https://HUB.example:443/y", "https://hub.example/y", true),
        ("https://me:pw@hub.example/y", "https://hub.example/y", true),
        ("/\\evil.example:7/y", "https://evil.example:7/y", false),
        ("\\\\evil.example:7/y", "https://evil.example:7/y", false),
        ("//evil.example/y", "https://evil.example/y", false),
        ("/\t/evil.example/y", "https://evil.example/y", false),
        ("https:\\\\evil.example/y", "https://evil.example/y", false),
        ("https:evil", "https://hub.example/api/evil", true),
        ("https:///evil.example/y", "https://evil.example/y", false),
        ("https://hub.example@evil.example/y", "https://evil.example/y", false),
        ("https://hub.example:444/y", "https://hub.example:444/y", false),
        ("https://hub.example.evil.example/y", "https://hub.example.evil.example/y", false),
        ("https://[::1]/y", "https://[::1]/y", false),
        ("https://0x7f.1/y", "https://127.0.0.1/y", false),
        ("https://h\u{fc}b.example/y", "https://xn--hb-xka.example/y", false),
    ] {
        let location = HeaderValue::from_bytes(location.as_bytes()).unwrap();
        let led = redirect_target(&home, &location).unwrap();
        assert_eq!(led.as_str(), to, "{location:?}");
        assert_eq!(led.origin() == home.origin(), same, "{location:?}");
    }
    for location in [
        "file:///etc/passwd",
        "ftp://x/y",
        "javascript:1",
        "data:,x",
        "http://hub.example/x",
        "https://",
    ] {
        assert!(redirect_target(&home, &HeaderValue::from_static(location)).is_err(), "{location}");
    }
}

#[test]
fn an_endpoint_that_is_refused_is_shown_without_its_password() {
    for address in ["ftp://me:secret@hub.example", "https://me:secret@hub.example:port"] {
        let said = parse_endpoint(address).unwrap_err().to_string();
        assert!(said.contains("***@hub.example") && !said.contains("secret"), "{said}");
    }
}

#[test]
fn what_is_shown_commands_no_terminal_and_is_short() {
    assert_eq!(quoted(b"a\x1b]0;x\x07\xff"), "\"a\\u{1b}]0;x\\u{7}\u{fffd}\"");
    assert!(quoted(&[b'x'; 100_000]).len() < 100);
}

fn header() -> impl Strategy<Value = (HeaderName, HeaderValue)> {
    const NAMES: [&str; 6] = [
        "etag",
        "x-linked-etag",
        "x-linked-size",
        "x-repo-commit",
        "content-length",
        "content-range",
    ];
    let value = prop_oneof![
        "[ -~]{0,80}".prop_map(String::into_bytes),
        "(W/)?\"?[0-9a-f]{40}\"?".prop_map(String::into_bytes),
        "bytes [0-9]{0,21}-[0-9]{0,21}/[0-9]{0,21}".prop_map(String::into_bytes),
        "(\\.\\./){0,4}[a-z/\\\\]{0,20}".prop_map(String::into_bytes),
        prop::collection::vec(prop_oneof![32..=126_u8, 128..=255_u8], 0..40),
    ];
    let value = value.prop_map(|value| HeaderValue::from_bytes(&value).unwrap());
    (prop::sample::select(&NAMES[..]).prop_map(HeaderName::from_static), value)
}

proptest! {
    #[test]
    fn whatever_a_server_says_ends_in_a_checked_value_or_a_sentence(
        pairs in prop::collection::vec(header(), 0..8),
        first in any::<u64>(),
        redirects in any::<bool>(),
    ) {
        let headers: HeaderMap = pairs.into_iter().collect();
        if let Ok(FileMetadata { hash: Some(hash), .. }) = parse_file_metadata(&headers, redirects, COMMIT) {
            prop_assert!(hash.digits().bytes().all(|c| c.is_ascii_hexdigit()));
            prop_assert!([40, 64].contains(&hash.digits().len()));
        }
        if let Some(total) = resumed_size(&headers, first) {
            prop_assert!(first < total);
        }
    }

    #[test]
    fn whatever_a_body_has_ends_in_checked_names_or_a_sentence(
        body in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..200),
            "\\{\"sha\": ?(\"[0-9a-f]{40}\"|\"[./a-z]{0,40}\"|7), ?\"siblings\": ?\\[(\\{\"rfilename\": ?\"[a-z./]{0,12}\"\\})?\\]\\}"
                .prop_map(String::into_bytes),
            "\\[\\{\"path\": ?\"x\", ?\"oid\": ?(\"[0-9a-f]{40}\"|\"0\"|null|[0-9]{1,3})\\}\\]".prop_map(String::into_bytes),
        ],
    ) {
        if let Ok(listing) = parse_listing(&body, "main") {
            prop_assert!(is_commit(&listing.commit));
            prop_assert!(listing.files.iter().all(|name| check_path(name).is_ok()));
        }
        let _ = parse_git_hash(&body, "x");
    }

    #[test]
    fn wherever_a_redirect_leads_it_is_the_web_and_has_no_password(
        location in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..60),
            "(https?:)?[/\\\\\t]{0,4}([a-z]{1,4}(:[a-z]{0,3})?@)?(hub|HUB|evil|\\[::1\\])?(:[0-9]{0,6})?[/\\\\?#]?[a-z]{0,4}"
                .prop_map(String::into_bytes),
        ],
    ) {
        let home = Url::parse("http://hub/x").unwrap();
        let Ok(value) = HeaderValue::from_bytes(&location) else { return Ok(()) };
        if let Ok(to) = redirect_target(&home, &value) {
            prop_assert!(is_web(&to) && to.username().is_empty() && to.password().is_none());
            // The host is the one that the client connects to: parsed again, it is the same.
            let again = Url::parse(to.as_str()).unwrap();
            prop_assert_eq!(again.origin(), to.origin());
        }
    }
}
