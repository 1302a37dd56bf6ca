//! Which files of a data set's repository hold which split of which config, told from their names
//! as Hugging Face's `datasets` lays them out.

use std::collections::BTreeMap;

use super::rows::format::Format;
use crate::{Result, did_you_mean, error};

/// The config of files that no folder names one for.
const DEFAULT: &str = "default";

/// What a file's name may call a split (`datasets/data_files.py`).
const SPLITS: [(&str, &[&str]); 3] = [
    ("train", &["train", "training"]),
    ("validation", &["validation", "valid", "dev", "val"]),
    ("test", &["test", "testing", "eval", "evaluation"]),
];

/// The files of a split, in order.
///
/// # Errors
/// There is no such config or split; none was named and there are several; or a shard of the split
/// is missing among `files`.
pub fn files_of(
    id: &str,
    files: &[String],
    config: Option<&str>,
    split: Option<&str>,
) -> Result<Vec<String>> {
    let mut configs: BTreeMap<String, BTreeMap<String, Vec<&String>>> = BTreeMap::new();
    for file in files {
        if let Some((config, split)) = place(file) {
            configs.entry(config).or_default().entry(split).or_default().push(file);
        }
    }
    let splits = pick(id, "config", &configs, config, Some(DEFAULT))?;
    let files = pick(id, "split", splits, split, None)?;
    // The same rows may be there in several formats.
    let format = |file: &str| Format::of(file).map(|(format, _)| format);
    let best = files.iter().filter_map(|file| format(file)).min();
    let mut files: Vec<String> =
        files.iter().filter(|file| format(file) == best).map(|file| (*file).clone()).collect();
    files.sort();
    if let Some((_, of)) = files.first().and_then(|first| shard(first))
        && files.iter().filter(|file| shard(file).is_some_and(|(_, own)| own == of)).count() != of
    {
        return Err(error!("{id} has only {} of {of} files of this split", files.len()));
    }
    Ok(files)
}

/// Whether any of the files holds rows of a split.
pub fn has_rows(files: &[String]) -> bool {
    files.iter().any(|file| place(file).is_some())
}

fn pick<'m, T>(
    id: &str,
    what: &str,
    of: &'m BTreeMap<String, T>,
    wanted: Option<&str>,
    default: Option<&str>,
) -> Result<&'m T> {
    let names = of.keys().map(String::as_str);
    let listed = || of.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
    match (wanted, of.len()) {
        (_, 0) => Err(error!("{id} has no file of rows")
            .help("a file of any name is read as hf:datasets/owner/repo/path")),
        (Some(wanted), _) => of.get(wanted).ok_or_else(|| {
            let error = error!("{id} has no {what} {wanted:?}");
            match did_you_mean(wanted, names) {
                Some(help) => error.help(help),
                None => error,
            }
        }),
        (None, 1) => of.values().next().ok_or_else(|| error!("{id} has no {what}")),
        (None, _) => default.and_then(|default| of.get(default)).ok_or_else(|| {
            error!("{id} has several {what}s: {}", listed())
                .help(format!("name one, as in load_rows(\"hf:{id}\", #{{{what}: \"…\"}})"))
        }),
    }
}

/// The config and the split of a file; nothing if it holds no rows.
fn place(path: &str) -> Option<(String, String)> {
    Format::of(path)?;
    let mut folders: Vec<&str> = path.split('/').collect();
    let file = folders.pop()?;
    let stem = file.split('.').next().unwrap_or(file);
    // `train-00000-of-00002.parquet`: the split may have any name.
    if let Some((split, _)) = shard(file) {
        let config = folders.first().filter(|folder| **folder != "data");
        return Some((config.map_or(DEFAULT, |folder| folder).to_owned(), split.to_owned()));
    }
    // `CONFIG/SPLIT/0000.parquet`, of what the Hub has converted.
    if let [config, split] = folders[..]
        && stem.len() == 4
        && stem.bytes().all(|c| c.is_ascii_digit())
    {
        return Some((
            config.to_owned(),
            split.strip_prefix("partial-").unwrap_or(split).to_owned(),
        ));
    }
    let known = |name: &str| {
        let mut words = name.split(|c: char| !c.is_ascii_alphanumeric());
        let of_word = |word: &str| SPLITS.iter().find(|(_, words)| words.contains(&word));
        words.find_map(|word| of_word(&word.to_ascii_lowercase())).map(|(split, _)| *split)
    };
    let split = known(stem).or_else(|| folders.iter().rev().find_map(|folder| known(folder)));
    let is_config = |folder: &&&str| **folder != "data" && known(folder).is_none();
    let config = folders.iter().find(is_config).map_or(DEFAULT, |folder| folder);
    // A text beside the data is a licence or a list of requirements.
    if split.is_none() && Format::of(path).is_some_and(|(format, _)| format == Format::Text) {
        return None;
    }
    Some((config.to_owned(), split.unwrap_or("train").to_owned()))
}

/// The split in `SPLIT-00000-of-00002`, and the number of its files.
fn shard(path: &str) -> Option<(&str, usize)> {
    let file = path.rsplit('/').next()?;
    let (before, after) = file.split_once("-of-")?;
    let (split, number) = before.rsplit_once('-')?;
    let of: &str = after.split(['.', '-']).next()?;
    let digits = |text: &str| text.len() == 5 && text.bytes().all(|c| c.is_ascii_digit());
    (digits(number) && digits(of)).then_some((split, of.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(files: &[&str], config: Option<&str>, split: Option<&str>) -> Result<Vec<String>> {
        let files: Vec<String> = files.iter().map(|file| (*file).to_owned()).collect();
        files_of("datasets/me/texts", &files, config, split)
    }

    #[test]
    fn names_say_config_and_split() {
        for (path, config, split) in [
            ("data/train-00000-of-00002.parquet", "default", "train"),
            ("data/train-00000-of-00002-ab12cd.parquet", "default", "train"),
            ("en/validation-00000-of-00001.parquet", "en", "validation"),
            ("data/odd_name-00000-of-00001.parquet", "default", "odd_name"),
            ("en/train/0000.parquet", "en", "train"),
            ("en/partial-train/0003.parquet", "en", "train"),
            ("train.jsonl", "default", "train"),
            ("data/dev.csv", "default", "validation"),
            ("en/test/part1.jsonl.gz", "en", "test"),
            ("my_eval_set.tsv", "default", "test"),
            ("rows.jsonl", "default", "train"),
        ] {
            assert_eq!(place(path), Some((config.into(), split.into())), "{path}");
        }
        for path in ["README.md", "requirements.txt", "a.py", "data/image.png"] {
            assert_eq!(place(path), None, "{path}");
        }
    }

    #[test]
    fn a_split_is_its_files_in_order() {
        let files = [
            "data/train-00001-of-00002.parquet",
            "data/train-00000-of-00002.parquet",
            "data/test-00000-of-00001.parquet",
            "README.md",
        ];
        let train = of(&files, None, Some("train")).unwrap();
        assert_eq!(train, [files[1], files[0]]);
        let said =
            |files: &[&str], config, split| of(files, config, split).unwrap_err().to_string();
        assert!(said(&files, None, None).contains("several splits: test, train"));
        assert!(said(&files, None, Some("trian")).contains("did you mean train?"));
        assert!(said(&files[..1], None, None).contains("only 1 of 2 files"));
        assert!(said(&["README.md"], None, None).contains("no file of rows"));
        let two = ["en/train.jsonl", "de/train.jsonl", "en/train.csv"];
        assert!(said(&two, None, None).contains("several configs: de, en"));
        assert_eq!(of(&two, Some("en"), None).unwrap(), ["en/train.jsonl"]);
    }
}
