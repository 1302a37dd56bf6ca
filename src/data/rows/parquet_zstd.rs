//! Parquet whose pages are compressed with Zstandard. The library would need zstd, which is built
//! by a C compiler; here its pages are read as if they were not compressed, and decompressed by
//! ruzstd.

use std::fs::File;
use std::io::Read;
use std::sync::Arc;

use parquet::basic::Compression;
use parquet::bloom_filter::Sbbf;
use parquet::column::page::{Page, PageMetadata, PageReader};
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::RowGroupMetaData;
use parquet::file::reader::RowGroupReader;
use parquet::file::serialized_reader::SerializedPageReader;
use parquet::record::reader::RowIter;
use parquet::schema::types::Type;

use super::decompress::Zstd;

/// The most bytes of a page; writers make pages of about a mebibyte.
const MAX_PAGE_BYTES: u64 = 1 << 30;

/// A group of rows, some of whose columns may be compressed with Zstandard.
pub struct ZstdGroup<'a> {
    group: Box<dyn RowGroupReader + 'a>,
    file: Arc<File>,
}

impl<'a> ZstdGroup<'a> {
    /// The group `group` of `file`.
    pub fn new(group: Box<dyn RowGroupReader + 'a>, file: Arc<File>) -> Self {
        Self { group, file }
    }
}

impl RowGroupReader for ZstdGroup<'_> {
    fn metadata(&self) -> &RowGroupMetaData {
        self.group.metadata()
    }

    fn num_columns(&self) -> usize {
        self.group.num_columns()
    }

    fn get_column_page_reader(&self, i: usize) -> Result<Box<dyn PageReader>> {
        let metadata = self.group.metadata();
        let column = metadata.column(i);
        if !matches!(column.compression(), Compression::ZSTD(_)) {
            return self.group.get_column_page_reader(i);
        }
        let plain =
            column.clone().into_builder().set_compression(Compression::UNCOMPRESSED).build()?;
        let rows = usize::try_from(metadata.num_rows())
            .map_err(|_| ParquetError::General("a group of fewer than no rows".into()))?;
        let pages = SerializedPageReader::new(self.file.clone(), &plain, rows, None)?;
        Ok(Box::new(ZstdPages(Box::new(pages))))
    }

    fn get_column_bloom_filter(&self, i: usize) -> Option<&Sbbf> {
        self.group.get_column_bloom_filter(i)
    }

    fn get_row_iter(&self, projection: Option<Type>) -> Result<RowIter<'_>> {
        RowIter::from_row_group(projection, self)
    }
}

/// Pages, decompressed one by one.
struct ZstdPages(Box<dyn PageReader>);

impl PageReader for ZstdPages {
    fn get_next_page(&mut self) -> Result<Option<Page>> {
        let Some(mut page) = self.0.get_next_page()? else { return Ok(None) };
        match &mut page {
            Page::DataPage { buf, .. } | Page::DictionaryPage { buf, .. } => {
                *buf = decompressed(buf, 0)?.into();
            }
            // The levels before the values are never compressed.
            Page::DataPageV2 {
                buf,
                is_compressed: true,
                def_levels_byte_len,
                rep_levels_byte_len,
                ..
            } => {
                let levels = u64::from(*def_levels_byte_len) + u64::from(*rep_levels_byte_len);
                *buf = decompressed(buf, usize::try_from(levels).unwrap_or(usize::MAX))?.into();
            }
            Page::DataPageV2 { .. } => {}
        }
        Ok(Some(page))
    }

    fn peek_next_page(&mut self) -> Result<Option<PageMetadata>> {
        self.0.peek_next_page()
    }

    fn skip_next_page(&mut self) -> Result<()> {
        self.0.skip_next_page()
    }
}

impl Iterator for ZstdPages {
    type Item = Result<Page>;

    fn next(&mut self) -> Option<Self::Item> {
        self.get_next_page().transpose()
    }
}

/// The first `start` bytes of a page as they are, and the others decompressed.
fn decompressed(page: &[u8], start: usize) -> Result<Vec<u8>> {
    let broken = |what: String| ParquetError::General(what);
    let (levels, values) = page
        .split_at_checked(start)
        .ok_or_else(|| broken("a page ends within its levels".into()))?;
    let mut whole = levels.to_vec();
    let read = Zstd::new(values).take(MAX_PAGE_BYTES).read_to_end(&mut whole);
    let read = read.map_err(|e| broken(e.to_string()))?;
    if read as u64 == MAX_PAGE_BYTES {
        return Err(broken("a page has more than 1 GiB".into()));
    }
    Ok(whole)
}
