//! An interpreter of pickle instructions that executes nothing: classes are only named, and calls
//! only recorded.
//!
//! An object that a pickle uses several times is one object, as in Python, so that there are no
//! more objects than instructions. Nothing recurses, however deep the objects nest. The
//! instructions are those of Python's `pickletools`.

use super::object::{Id, Object};
use crate::{Result, bail, error};

/// All objects of a pickle.
#[derive(Debug)]
pub struct Objects<'a> {
    made: Vec<Object<'a>>,
    value: Id,
    length: usize,
}

impl<'a> Objects<'a> {
    /// Interprets a pickle.
    ///
    /// # Errors
    /// The bytes are no pickle, are cut short, or have an instruction that no checkpoint has.
    pub fn read(bytes: &'a [u8]) -> Result<Self> {
        let mut machine = Machine {
            bytes,
            at: 0,
            made: Vec::new(),
            stack: Vec::new(),
            marks: Vec::new(),
            memo: vec![],
        };
        loop {
            let at = machine.at;
            let ended = machine.step().map_err(|e| e.at(format!("at byte {at}")))?;
            if let Some(value) = ended {
                return Ok(Self { made: machine.made, value, length: machine.at });
            }
        }
    }

    /// The object that the pickle stands for.
    pub fn value(&self) -> Id {
        self.value
    }

    /// How many bytes the pickle has: others may follow it.
    pub fn length(&self) -> usize {
        self.length
    }

    /// All objects.
    pub fn all(&self) -> &[Object<'a>] {
        &self.made
    }

    /// The object of an id.
    pub fn get(&self, id: Id) -> &Object<'a> {
        &self.made[id as usize]
    }
}

/// The state of the interpreter.
struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    made: Vec<Object<'a>>,
    stack: Vec<Id>,
    /// The height of the stack at each mark.
    marks: Vec<usize>,
    /// The objects that later instructions may use again, by number.
    memo: Vec<Option<Id>>,
}

impl<'a> Machine<'a> {
    /// Interprets one instruction. The last one, STOP, returns the pickle's value.
    fn step(&mut self) -> Result<Option<Id>> {
        let [code] = self.array()?;
        match code {
            // PROTO and FRAME have no effect.
            0x80 => drop(self.take(1)?),
            0x95 => drop(self.take(8)?),
            b'.' => return self.pop().map(Some),
            b'(' => self.marks.push(self.stack.len()),
            b'0' => drop(self.pop()?),
            b'1' => drop(self.since_mark()?),
            b'2' => {
                let top = self.top()?;
                self.stack.push(top);
            }
            b'N' => self.push(Object::None)?,
            0x88 => self.push(Object::Bool(true))?,
            0x89 => self.push(Object::Bool(false))?,
            b'K' => {
                let [n] = self.array()?;
                self.push(Object::Int(n.into()))?;
            }
            b'M' => {
                let n = u16::from_le_bytes(self.array()?);
                self.push(Object::Int(n.into()))?;
            }
            b'J' => {
                let n = i32::from_le_bytes(self.array()?);
                self.push(Object::Int(n.into()))?;
            }
            0x8a => {
                let [length] = self.array()?;
                self.long(length.into())?;
            }
            0x8b => {
                let length = self.length4()?;
                self.long(length)?;
            }
            b'G' => {
                let x = f64::from_be_bytes(self.array()?);
                self.push(Object::Float(x))?;
            }
            b'X' | 0x8c | 0x8d => {
                let length = self.length(code)?;
                let text = std::str::from_utf8(self.take(length)?)
                    .map_err(|_| error!("a text is not UTF-8"))?;
                self.push(Object::Text(text))?;
            }
            // BINSTRING and SHORT_BINSTRING, which are Python 2's texts.
            b'T' | b'U' => {
                let length = self.length(code)?;
                let text = std::str::from_utf8(self.take(length)?);
                self.push(text.map_or(Object::Other, Object::Text))?;
            }
            // Bytes: BINBYTES, SHORT_BINBYTES, BINBYTES8.
            b'B' | b'C' | 0x8e => {
                let length = self.length(code)?;
                self.take(length)?;
                self.push(Object::Other)?;
            }
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.push(Object::Global { module, name })?;
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                match (&self.made[module as usize], &self.made[name as usize]) {
                    (&Object::Text(module), &Object::Text(name)) => {
                        self.push(Object::Global { module, name })?
                    }
                    _ => bail!("a class is named by no text"),
                }
            }
            b')' => self.push(Object::Tuple(Vec::new()))?,
            0x85..=0x87 => {
                let from = self.below(usize::from(code - 0x84))?;
                let items = self.stack.split_off(from);
                self.push(Object::Tuple(items))?;
            }
            b't' => {
                let items = self.since_mark()?;
                self.push(Object::Tuple(items))?;
            }
            b']' => self.push(Object::List(Vec::new()))?,
            b'l' => {
                let items = self.since_mark()?;
                self.push(Object::List(items))?;
            }
            b'a' => {
                let item = self.pop()?;
                self.list()?.push(item);
            }
            b'e' => {
                let items = self.since_mark()?;
                self.list()?.extend(items);
            }
            b'}' => self.push(Object::Dict(Vec::new()))?,
            b'd' => {
                let items = pairs(&self.since_mark()?)?;
                self.push(Object::Dict(items))?;
            }
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.dict()?.push((key, value));
            }
            b'u' => {
                let items = pairs(&self.since_mark()?)?;
                self.dict()?.extend(items);
            }
            // EMPTY_SET, ADDITEMS, FROZENSET
            0x8f => self.push(Object::Other)?,
            0x90 => drop(self.since_mark()?),
            0x91 => {
                self.since_mark()?;
                self.push(Object::Other)?;
            }
            b'R' | 0x81 => {
                let (arguments, callable) = (self.pop()?, self.pop()?);
                self.call(callable, arguments)?;
            }
            0x92 => {
                let (_keywords, arguments, callable) = (self.pop()?, self.pop()?, self.pop()?);
                self.call(callable, arguments)?;
            }
            b'b' => {
                let (state, object) = (self.pop()?, self.pop()?);
                // The state of an OrderedDict is attributes such as `_metadata`, not entries.
                match &self.made[object as usize] {
                    Object::Dict(_) => self.stack.push(object),
                    _ => self.push(Object::Built { object, state })?,
                }
            }
            b'Q' => {
                let name = self.pop()?;
                self.push(Object::Persistent(name))?;
            }
            b'q' => {
                let [place] = self.array()?;
                self.remember(place.into())?;
            }
            b'r' => {
                let place = self.length4()?;
                self.remember(place)?;
            }
            0x94 => self.remember(self.memo.len())?,
            b'h' => {
                let [place] = self.array()?;
                self.recall(place.into())?;
            }
            b'j' => {
                let place = self.length4()?;
                self.recall(place)?;
            }
            other => bail!("the instruction {other:#04x} is none of a checkpoint's"),
        }
        Ok(None)
    }

    /// The next `length` bytes.
    fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        let rest = &self.bytes[self.at..];
        let Some(taken) = rest.get(..length) else { bail!("it is cut short") };
        self.at += length;
        Ok(taken)
    }

    /// The next `N` bytes.
    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    /// The next four bytes as a little-endian number.
    fn length4(&mut self) -> Result<usize> {
        Ok(u32::from_le_bytes(self.array()?) as usize)
    }

    /// The length of the string or the bytes that an instruction has.
    fn length(&mut self, code: u8) -> Result<usize> {
        match code {
            0x8c | b'C' | b'U' => self.array().map(|[length]| length.into()),
            0x8d | 0x8e => {
                let length = u64::from_le_bytes(self.array()?);
                usize::try_from(length).map_err(|_| error!("it is cut short"))
            }
            _ => self.length4(),
        }
    }

    /// The text up to the end of the line.
    fn line(&mut self) -> Result<&'a str> {
        let rest = &self.bytes[self.at..];
        let Some(end) = rest.iter().position(|&byte| byte == b'\n') else {
            bail!("it is cut short")
        };
        self.at += end + 1;
        let line = std::str::from_utf8(&rest[..end])
            .map_err(|_| error!("the name of a class is not UTF-8"))?;
        Ok(line.strip_suffix('\r').unwrap_or(line))
    }

    /// Pushes an integer of `length` bytes, little-endian, in two's complement.
    fn long(&mut self, length: usize) -> Result<()> {
        let bytes = self.take(length)?;
        let filling = if bytes.last().is_some_and(|byte| byte & 0x80 != 0) { 0xff } else { 0 };
        let mut whole = [filling; 8];
        if length > whole.len() {
            return self.push(Object::Other);
        }
        whole[..length].copy_from_slice(bytes);
        self.push(Object::Int(i64::from_le_bytes(whole)))
    }

    /// Adds an object and pushes it on the stack.
    fn push(&mut self, object: Object<'a>) -> Result<()> {
        let id = Id::try_from(self.made.len()).map_err(|_| error!("it has too many objects"))?;
        self.made.push(object);
        self.stack.push(id);
        Ok(())
    }

    /// Pushes the result of a call. Constructors of dicts yield an empty dict.
    fn call(&mut self, callable: Id, arguments: Id) -> Result<()> {
        let Object::Global { module: "collections", name: name @ ("OrderedDict" | "defaultdict") } =
            self.made[callable as usize]
        else {
            return self.push(Object::Call { callable, arguments });
        };
        // A defaultdict is made with the function for its missing items.
        let most = usize::from(name == "defaultdict");
        if !matches!(&self.made[arguments as usize], Object::Tuple(items) if items.len() <= most) {
            bail!(
                "it has a dict made from a list, as Python 2 writes it: save it again with Python 3"
            );
        }
        self.push(Object::Dict(Vec::new()))
    }

    /// The position in the stack of the topmost `count` objects, which must be above the last mark.
    fn below(&self, count: usize) -> Result<usize> {
        let floor = self.marks.last().copied().unwrap_or(0);
        match self.stack.len().checked_sub(count) {
            Some(from) if from >= floor => Ok(from),
            _ => bail!("an instruction takes more objects than there are"),
        }
    }

    fn top(&self) -> Result<Id> {
        Ok(self.stack[self.below(1)?])
    }

    fn pop(&mut self) -> Result<Id> {
        let top = self.top()?;
        self.stack.pop();
        Ok(top)
    }

    /// Pops everything above the last mark, and the mark.
    fn since_mark(&mut self) -> Result<Vec<Id>> {
        let Some(mark) = self.marks.pop() else {
            bail!("an instruction takes more objects than there are")
        };
        Ok(self.stack.split_off(mark))
    }

    /// The list on top of the stack.
    fn list(&mut self) -> Result<&mut Vec<Id>> {
        let top = self.top()?;
        match &mut self.made[top as usize] {
            Object::List(items) => Ok(items),
            _ => bail!("items are added to what is no list"),
        }
    }

    /// The dict on top of the stack.
    fn dict(&mut self) -> Result<&mut Vec<(Id, Id)>> {
        let top = self.top()?;
        match &mut self.made[top as usize] {
            Object::Dict(items) => Ok(items),
            _ => bail!("items are set in what is no dict"),
        }
    }

    /// Stores the top of the stack in the memo.
    fn remember(&mut self, place: usize) -> Result<()> {
        // Python numbers the memo consecutively. A number larger than the bytes so far is
        // malicious: it would make the memo large.
        if place > self.at {
            bail!("an object is remembered in place {place}, before there are so many");
        }
        let top = self.top()?;
        if place >= self.memo.len() {
            self.memo.resize(place + 1, None);
        }
        self.memo[place] = Some(top);
        Ok(())
    }

    /// Pushes an object from the memo.
    fn recall(&mut self, place: usize) -> Result<()> {
        match self.memo.get(place) {
            Some(Some(id)) => self.stack.push(*id),
            _ => bail!("nothing was remembered in place {place}"),
        }
        Ok(())
    }
}

/// Keys and values in turn, as pairs.
fn pairs(items: &[Id]) -> Result<Vec<(Id, Id)>> {
    if !items.len().is_multiple_of(2) {
        bail!("a dict is given a key without a value");
    }
    Ok(items.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_again_is_not_made_again() {
        // A list within a list, forty times, each twice.
        let mut bomb = b"\x80\x02]q\x00".to_vec();
        for place in 0..40u8 {
            bomb.extend([b']', b'(', b'h', place, b'h', place, b'e', b'q', place + 1]);
        }
        bomb.push(b'.');
        let objects = Objects::read(&bomb).unwrap();
        assert_eq!(objects.made.len(), 41);
        let doubled = b"\x80\x02K\x012222t.";
        assert!(Objects::read(doubled).is_err(), "there is no mark");
        assert!(
            matches!(Objects::read(b"(K\x012222t.").unwrap().made.last(), Some(Object::Tuple(items)) if items.len() == 5)
        );
    }

    #[test]
    fn nesting_is_no_recursion() {
        let deep = [b"N".to_vec(), vec![0x85; 1 << 20], b".".to_vec()].concat();
        assert_eq!(Objects::read(&deep).unwrap().made.len(), (1 << 20) + 1);
    }

    #[test]
    fn what_is_broken_is_a_sentence() {
        for (bytes, said) in [
            (&b""[..], "cut short"),
            (b"\x80", "cut short"),
            (b"K", "cut short"),
            (b"X\xff\xff\xff\xffa", "cut short"),
            (b"\x8d\xff\xff\xff\xff\xff\xff\xff\xffa", "cut short"),
            (b"X\x01\x00\x00\x00\xff.", "not UTF-8"),
            (b".", "more objects than there are"),
            (b"R.", "more objects than there are"),
            (b"K\x01(.", "more objects than there are"),
            (b"K\x01\x86.", "more objects than there are"),
            (b"t.", "more objects than there are"),
            (b"Na.", "more objects than there are"),
            (b"NNa.", "no list"),
            (b"NNNs.", "no dict"),
            (b"}(Nu.", "without a value"),
            (b"h\x05.", "nothing was remembered"),
            (b"Nr\xff\xff\xff\xff.", "before there are so many"),
            (b"Nb.", "more objects than there are"),
            (b"\x93.", "more objects than there are"),
            (b"NN\x93.", "named by no text"),
            (b"c\xff\nx\n.", "not UTF-8"),
            (b"cos\nsystem", "cut short"),
            (b"\xfe", "0xfe"),
            (b"I1\n.", "0x49"),
        ] {
            let error = Objects::read(bytes).unwrap_err();
            assert!(error.message().contains(said), "{bytes:?}: {error}");
        }
    }
}
