//! `load_rows` and `batches`: every format, in every compression, gives the rows that the tool wrote
//! that made the file; what is broken is named by its line; memory does not grow with the file.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::{said, shown, workplace};
use crate::binary::Workplace;

/// A digest of all rows, which tells types apart.
const DIGEST: &str = "let all = []; for row in rows { all.push(row); } print(all.len()); print(all[0]); print(all[1]); print(all[24]); \
    print(all.map(|row| type_of(row.score)).dedup()); print(all.map(|row| row.meta.id));";

#[test]
fn every_format_gives_the_rows_that_were_written() {
    let place = workplace();
    let rows = |name: &str| shown(&place, &format!("let rows = load_rows(\"{name}\"); {DIGEST}"));
    let expected = rows("rows.jsonl");
    let first = r#"#{"label": 0, "meta": #{"by": "me", "id": 0}, "ok": true, "score": 0.0, "tags": [], "text": "The cat sat."}"#;
    assert_eq!(expected.lines().nth(1), Some(first));
    assert!(
        expected.starts_with("25\n")
            && expected.contains(r#""text": "naïve, \"quoted\"\nand broken""#),
        "{expected}"
    );
    for name in [
        "rows.jsonl.gz",
        "rows.jsonl.zst",
        "rows-snappy-v1.parquet",
        "rows-zstd-v1.parquet",
        "rows-zstd-v2.parquet",
        "rows-gzip-v1.parquet",
        "rows-none-v2.parquet",
    ] {
        assert_eq!(rows(name), expected, "{name}");
    }
}

#[test]
fn cells_of_tables_are_numbers_where_nothing_is_lost() {
    let place = Workplace::new(&[
        ("a.csv", "\u{feff}text,n,code\r\n\"a, \"\"b\"\"\nc\",1,007\r\n,-2.5,x\r\n"),
        ("a.tsv", "text\tn\nä\t3\n\n"),
        ("a.txt", "one\r\n\n three"),
    ]);
    let rows =
        |load: &str| shown(&place, &format!("for row in load_rows({load}) {{ print(row); }}"));
    assert_eq!(
        rows("\"a.csv\""),
        "#{\"code\": \"007\", \"n\": 1, \"text\": \"a, \\\"b\\\"\\nc\"}\n#{\"code\": \"x\", \"n\": -2.5, \"text\": ()}"
    );
    assert_eq!(
        rows("\"a.csv\", #{columns: [\"n\"], numbers: false}"),
        "#{\"n\": \"1\"}\n#{\"n\": \"-2.5\"}"
    );
    assert_eq!(
        rows("\"a.csv\", #{columns: [\"code\"], numbers: [\"n\"]}"),
        "#{\"code\": \"007\"}\n#{\"code\": \"x\"}"
    );
    assert_eq!(rows("\"a.tsv\""), "#{\"n\": 3, \"text\": \"ä\"}");
    assert_eq!(
        rows("\"a.txt\""),
        "#{\"text\": \"one\"}\n#{\"text\": \"\"}\n#{\"text\": \" three\"}"
    );
}

#[test]
fn parts_are_selected_without_reading_the_whole() {
    let place = workplace();
    for name in ["rows.jsonl", "rows-snappy-v1.parquet"] {
        let ids = |chain: &str| {
            shown(
                &place,
                &format!(
                    "let ids = []; for row in load_rows(\"{name}\"){chain} {{ ids.push(row.meta.id); }} print(ids);"
                ),
            )
        };
        assert_eq!(ids(".take(3)"), "[0, 1, 2]");
        assert_eq!(ids(".skip(22)"), "[22, 23, 24]");
        assert_eq!(ids(".skip(9).take(3)"), "[9, 10, 11]");
        assert_eq!(ids(".shard(1, 10)"), "[1, 11, 21]");
        assert_eq!(ids(".skip(3).shard(2, 4).take(2)"), "[5, 9]");
        assert_eq!(ids(".skip(100)"), "[]");
    }
    assert_eq!(
        shown(
            &place,
            "let rows = load_rows(\"rows-snappy-v1.parquet\"); print([rows.len, rows.skip(20).len, rows.shard(0, 2).len, load_rows(\"rows.jsonl\").len, batches(rows, 4).len]);"
        ),
        "[25, 5, 13, (), 7]"
    );
    assert_eq!(
        shown(
            &place,
            "for row in load_rows(\"rows-zstd-v2.parquet\", #{columns: [\"ok\", \"label\"]}).take(1) { print(row); }"
        ),
        "#{\"label\": 0, \"ok\": true}"
    );
    // Two loops at once, each with a place of its own.
    assert_eq!(
        shown(
            &place,
            "let rows = load_rows(\"rows-gzip-v1.parquet\"); let n = 0; for a in rows.take(3) { for b in rows { if b.meta.id > a.meta.id { n += 1; } } } print(n);"
        ),
        "69"
    );
}

#[test]
fn batches_are_consecutive_and_whole() {
    let place = workplace();
    let ids = |of: &str| {
        shown(
            &place,
            &format!(
                "let rows = load_rows(\"rows.jsonl\"); for batch in {of} {{ print(batch.map(|row| row.meta.id)); }}"
            ),
        )
    };
    assert_eq!(ids("batches(rows.take(5), 2)"), "[0, 1]\n[2, 3]\n[4]");
    assert_eq!(ids("batches(rows, 4).skip(5)"), "[20, 21, 22, 23]\n[24]");
    assert_eq!(ids("batches(rows, 2).shard(1, 5).take(2)"), "[2, 3]\n[12, 13]");
    assert_eq!(
        shown(
            &place,
            "let m = model(\"demo:opt\"); for batch in batches(load_rows(\"rows.jsonl\").take(1), 2) { print(m.encode(batch.map(|row| row.text), #{max_tokens: 3}).shape); }"
        ),
        "[1, 3]"
    );
    for (script, sentence) in [
        ("batches([1], 0)", "a batch has at least 1 row, not 0"),
        ("batches(3, 1)", "batches takes rows, batches or an array, not 3"),
        (
            "load_rows(\"rows.jsonl\").shard(2, 2)",
            "shard(i, n) is the share i of n, with i from 0 to n - 1, not shard(2, 2)",
        ),
        ("load_rows(\"rows.jsonl\").take(-1)", "take takes a number of at least 0, not -1"),
    ] {
        let said = said(&place, script);
        assert!(said.contains(sentence), "{said}");
    }
}

#[test]
fn what_is_broken_is_named_by_its_line() {
    let place = workplace();
    let cut = std::fs::read(place.path().join("rows.jsonl.gz")).unwrap();
    place.write("cut.jsonl.gz", &cut[..cut.len() / 2]);
    let mut zst = std::fs::read(place.path().join("rows.jsonl.zst")).unwrap();
    let at = zst.len() - 2;
    zst[at] ^= 1;
    place.write("sum.jsonl.zst", &zst);
    let mut parquet = std::fs::read(place.path().join("rows-snappy-v1.parquet")).unwrap();
    place.write("cut.parquet", &parquet[..parquet.len() / 2]);
    parquet[60..90].fill(0xff);
    place.write("bits.parquet", &parquet);
    for (name, text) in [
        ("a.jsonl", "{\"a\": 1}\n\n{\"a\": }\n"),
        ("b.jsonl", "{\"a\": 1}\n[2]\n"),
        ("c.jsonl", "{\"a\": 18446744073709551615}\n"),
        ("a.csv", "x,y\n1,2\n3\n"),
        ("b.csv", "x,x\n1,2\n"),
        ("c.csv", "x,y\n1,2\n1,two\n"),
        ("d.csv", ""),
        ("a.json", "[]"),
    ] {
        place.write(name, text.as_bytes());
    }
    place.write("latin.txt", b"one\ncaf\xe9\n");
    for (load, sentence) in [
        ("\"a.jsonl\"", "a.jsonl:3 is no JSON: expected value at column 7"),
        ("\"b.jsonl\"", "b.jsonl:2 is an array: a row is a map"),
        ("\"c.jsonl\"", "c.jsonl:1: a: 18446744073709551615 is larger than a script's integers"),
        ("\"a.csv\"", "a.csv:3 has 1 cells, and there are 2 columns"),
        ("\"b.csv\"", "b.csv has two columns \"x\""),
        ("\"c.csv\", #{numbers: [\"y\"]}", "c.csv:3: y is no number: \"two\""),
        ("\"d.csv\"", "d.csv is empty"),
        ("\"latin.txt\"", "latin.txt:2 is not UTF-8"),
        ("\"a.json\"", "a.json is in no format that rows are read from"),
        ("\"cut.jsonl.gz\"", "cut.jsonl.gz:"),
        ("\"sum.jsonl.zst\"", "its checksum is another"),
        ("\"cut.parquet\"", "cut.parquet is no Parquet that can be read"),
        ("\"bits.parquet\"", "bits.parquet: row 1 can't be read"),
        ("\"rows.jsonl\", #{columns: [\"txt\"]}", "rows.jsonl:1 has no column \"txt\"\n"),
        ("\"rows-zstd-v1.parquet\", #{columns: [\"txt\"]}", "did you mean text?"),
        ("\"c.csv\", #{columns: [\"z\"]}", "c.csv has no column \"z\""),
        ("\"a.csv\", #{column: []}", "load_rows has no option column"),
        ("\"a.csv\", #{columns: \"x\"}", "columns must be an array of names of columns"),
        ("\"../a.csv\"", "there is no file \"../a.csv\" beside the script"),
        ("\"none.csv\"", "there is no file \"none.csv\" beside the script"),
    ] {
        let said = said(&place, &format!("for row in load_rows({load}) {{ let x = row; }}"));
        assert!(said.contains(sentence), "{load}\n{said}");
    }
    // What is broken further on does not matter before.
    assert_eq!(shown(&place, "for row in load_rows(\"a.jsonl\").take(1) { print(row.a); }"), "1");
}

#[test]
fn memory_does_not_grow_with_a_file() {
    const ROWS: usize = 200_000;
    let place = Workplace::new(&[]);
    let filler = "x".repeat(300);
    let mut file = GzEncoder::new(
        std::fs::File::create(place.path().join("many.jsonl.gz")).unwrap(),
        Compression::fast(),
    );
    for i in 0..ROWS {
        writeln!(file, "{{\"id\": {i}, \"text\": \"{filler}\"}}").unwrap();
    }
    file.finish().unwrap();
    place.write(
        "s.rhai",
        b"let sum = 0; for batch in batches(load_rows(\"many.jsonl.gz\"), 1000) { for row in batch { sum += row.id; } } print(sum);",
    );
    // The rows are 60 MB as they stand in the file, and more as maps.
    let ran = place.run(&["run", "s.rhai", "--max-memory", "16MiB"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert_eq!(ran.stdout.trim(), (ROWS * (ROWS - 1) / 2).to_string());
}

#[test]
fn a_row_without_an_end_is_refused() {
    let place = Workplace::new(&[]);
    for (name, start) in
        [("bomb.jsonl.gz", "{\"a\": \""), ("bomb.csv.gz", "a\n\""), ("bomb.txt.gz", "")]
    {
        let mut file = GzEncoder::new(Vec::new(), Compression::fast());
        file.write_all(start.as_bytes()).unwrap();
        for _ in 0..80 {
            file.write_all(&[b'a'; 1 << 20]).unwrap();
        }
        place.write(name, &file.finish().unwrap());
        let said = said(&place, &format!("for row in load_rows(\"{name}\") {{ let x = row; }}"));
        assert!(
            said.contains("of more than 64 MiB") || said.contains("has more than 64 MiB"),
            "{said}"
        );
    }
}
