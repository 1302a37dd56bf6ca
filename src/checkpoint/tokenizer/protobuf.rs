//! Reads protocol buffers: the numbers and values of a message's fields.

/// The most fields of a message: twice the pieces of the largest vocabulary that is read.
const MAX_FIELDS: usize = 1 << 21;

/// A value of a protocol buffer.
pub enum Field<'a> {
    Number(u64),
    Word(u32),
    Bytes(&'a [u8]),
    Long,
}

/// The numbers and values of a message's fields; nothing if it is none, or has too many.
pub fn fields(mut bytes: &[u8]) -> Option<Vec<(u64, Field<'_>)>> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let key = number(&mut bytes)?;
        let field = match key & 7 {
            0 => Field::Number(number(&mut bytes)?),
            1 => {
                bytes.split_off(..8)?;
                Field::Long
            }
            2 => {
                let length = usize::try_from(number(&mut bytes)?).ok()?;
                Field::Bytes(bytes.split_off(..length)?)
            }
            5 => Field::Word(u32::from_le_bytes(bytes.split_off(..4)?.try_into().ok()?)),
            _ => return None,
        };
        if fields.len() == MAX_FIELDS {
            return None;
        }
        fields.push((key >> 3, field));
    }
    Some(fields)
}

/// A number of seven bits a byte, the lowest first.
fn number(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for place in 0..10 {
        let byte = *bytes.split_off_first()?;
        number |= u64::from(byte & 0x7f).checked_shl(7 * place)?;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

/// Negative numbers are written as large ones.
pub fn signed(number: u64) -> i64 {
    number.cast_signed()
}
