//! Rows as bytes: ten thousand sessions with their users are remembered, and as structs with their JSON they
//! took three times the room.

use serde_json::Value as Json;

use crate::clock::Timestamp;
use crate::store::{Row, Table, Value};

/// One row after the other, each with the values of its table's columns, in their order.
#[derive(Debug)]
pub(super) struct Packer<'a> {
    bytes: Vec<u8>,
    known: &'a str,
}

const ABSENT: u8 = 0;
const NULL: u8 = 1;
const FALSE: u8 = 2;
const TRUE: u8 = 3;
const INT: u8 = 4;
const FLOAT: u8 = 5;
const TIME: u8 = 6;
const TEXT: u8 = 7;
const JSON: u8 = 8;
/// A text that stands further up already: where, in two bytes, and its length, in one.
const AGAIN: u8 = 9;
/// The text that is known without the bytes.
const KNOWN: u8 = 10;
/// In place of a text's length.
const LONG: u8 = u8::MAX;

impl<'a> Packer<'a> {
    /// For bytes that are kept with this text.
    pub const fn new(known: &'a str) -> Self {
        Self { bytes: Vec::new(), known }
    }

    /// Adds a row.
    pub fn push(&mut self, table: &Table, row: &Row) {
        for column in &table.columns {
            match row.get(&column.key) {
                None => self.bytes.push(ABSENT),
                Some(Value::Null) => self.bytes.push(NULL),
                Some(Value::Bool(value)) => self.bytes.push(if *value { TRUE } else { FALSE }),
                Some(Value::Int(value)) => self.eight(INT, value.to_le_bytes()),
                Some(Value::Float(value)) => self.eight(FLOAT, value.to_le_bytes()),
                Some(Value::Time(value)) => self.eight(TIME, value.millis().to_le_bytes()),
                Some(Value::Text(value)) if value == self.known => self.bytes.push(KNOWN),
                Some(Value::Text(value)) => self.again(value).unwrap_or_else(|| self.text(TEXT, value)),
                Some(Value::Json(value)) => self.text(JSON, &value.to_string()),
            }
        }
    }

    fn eight(&mut self, kind: u8, bytes: [u8; 8]) {
        self.bytes.push(kind);
        self.bytes.extend(bytes);
    }

    /// Refers to where a text stands already, if it does and that is shorter.
    fn again(&mut self, text: &str) -> Option<()> {
        let length = u8::try_from(text.len()).ok().filter(|length| *length > 2)?;
        // No further than an offset reaches: who has long texts does not make everybody wait.
        let near = self.bytes.len().min(usize::from(u16::MAX) + text.len());
        let at = self.bytes.get(..near)?.windows(text.len()).position(|bytes| bytes == text.as_bytes())?;
        let [low, high] = u16::try_from(at).ok()?.to_le_bytes();
        self.bytes.extend([AGAIN, low, high, length]);
        Some(())
    }

    /// Its length before it, in one byte or, behind [`LONG`], in eight.
    fn text(&mut self, kind: u8, text: &str) {
        self.bytes.push(kind);
        match u8::try_from(text.len()) {
            Ok(length) if length != LONG => self.bytes.push(length),
            _ => self.eight(LONG, (text.len() as u64).to_le_bytes()),
        }
        self.bytes.extend(text.as_bytes());
    }

    /// All rows.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

/// What is packed for a column.
enum Cell<'a> {
    Absent,
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Time(Timestamp),
    /// As UTF-8.
    Text(&'a [u8]),
    /// As text.
    Json(&'a [u8]),
}

/// How the JSON of a table's rows begins each of its members: `,"key":`, and nothing for hidden columns.
#[derive(Debug, Default)]
pub(super) struct Shape(Vec<Option<Box<[u8]>>>);

impl From<&Table> for Shape {
    fn from(table: &Table) -> Self {
        let begin = |key: &str| format!(",{}:", Json::from(key)).into_bytes().into_boxed_slice();
        Self(table.columns.iter().map(|column| column.returned.then(|| begin(&column.key))).collect())
    }
}

/// Reads what a [`Packer`] has written, row by row; `None` from bytes that none has.
pub(super) struct Unpacker<'a> {
    all: &'a [u8],
    rest: &'a [u8],
    known: &'a str,
}

impl<'a> Unpacker<'a> {
    /// Of bytes that are kept with this text.
    pub const fn new(bytes: &'a [u8], known: &'a str) -> Self {
        Self { all: bytes, rest: bytes, known }
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    fn eight(&mut self) -> Option<[u8; 8]> {
        self.take(8)?.try_into().ok()
    }

    fn text(&mut self) -> Option<&'a [u8]> {
        let length = match self.byte()? {
            LONG => usize::try_from(u64::from_le_bytes(self.eight()?)).ok()?,
            length => usize::from(length),
        };
        self.take(length)
    }

    fn cell(&mut self) -> Option<Cell<'a>> {
        Some(match self.byte()? {
            ABSENT => Cell::Absent,
            NULL => Cell::Null,
            FALSE => Cell::Bool(false),
            TRUE => Cell::Bool(true),
            INT => Cell::Int(i64::from_le_bytes(self.eight()?)),
            FLOAT => Cell::Float(f64::from_le_bytes(self.eight()?)),
            TIME => Cell::Time(Timestamp::from_millis(i64::from_le_bytes(self.eight()?))),
            TEXT => Cell::Text(self.text()?),
            JSON => Cell::Json(self.text()?),
            AGAIN => {
                let [low, high, length] = self.take(3)?.try_into().ok()?;
                let at = usize::from(u16::from_le_bytes([low, high]));
                Cell::Text(self.all.get(at..at + usize::from(length))?)
            }
            KNOWN => Cell::Text(self.known.as_bytes()),
            _ => return None,
        })
    }

    /// The next row.
    pub fn row(&mut self, table: &Table) -> Option<Row> {
        let mut row = Row::with_capacity(table.columns.len());
        for column in &table.columns {
            let value = match self.cell()? {
                Cell::Absent => continue,
                Cell::Null => Value::Null,
                Cell::Bool(value) => Value::Bool(value),
                Cell::Int(value) => Value::Int(value),
                Cell::Float(value) => Value::Float(value),
                Cell::Time(value) => Value::Time(value),
                Cell::Text(value) => Value::Text(std::str::from_utf8(value).ok()?.to_owned()),
                Cell::Json(value) => Value::Json(serde_json::from_slice(value).ok()?),
            };
            row.push(column.key.clone(), value);
        }
        Some(row)
    }

    /// The next row as JSON without hidden columns: what [`to_json`](super::fields::to_json) makes of it.
    pub fn write_json(&mut self, shape: &Shape, out: &mut Vec<u8>) -> Option<()> {
        let start = out.len();
        for begin in &shape.0 {
            let (cell, Some(begin)) = (self.cell()?, begin) else { continue };
            if matches!(cell, Cell::Absent) {
                continue;
            }
            out.extend_from_slice(begin);
            match cell {
                Cell::Absent | Cell::Null => out.extend(b"null"),
                Cell::Bool(value) => write(out, &value)?,
                Cell::Int(value) => write(out, &value)?,
                Cell::Float(value) => write(out, &Json::from(value))?,
                Cell::Time(value) => {
                    out.push(b'"');
                    out.extend(value.to_iso());
                    out.push(b'"');
                }
                Cell::Text(value) => write_text(out, value)?,
                Cell::Json(value) => out.extend(value),
            }
        }
        match out.get_mut(start) {
            Some(first) => *first = b'{',
            None => out.push(b'{'),
        }
        out.push(b'}');
        Some(())
    }
}

/// Most texts need no escapes, and a look at them as a whole is quicker than one at each letter.
fn write_text(out: &mut Vec<u8>, text: &[u8]) -> Option<()> {
    let odd = |byte: &u8| *byte < b' ' || *byte == b'"' || *byte == b'\\';
    if text.iter().fold(false, |found, byte| found | odd(byte)) {
        return write(out, std::str::from_utf8(text).ok()?);
    }
    out.push(b'"');
    out.extend(text);
    out.push(b'"');
    Some(())
}

fn write(out: &mut Vec<u8>, value: &(impl serde::Serialize + ?Sized)) -> Option<()> {
    serde_json::to_writer(out, value).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::identity::fields::to_json;
    use crate::store::{Column, Kind};

    const KNOWN_TEXT: &str = "the token";

    fn table() -> Table {
        let kinds = [
            ("id", Kind::Id),
            ("text", Kind::Text),
            ("flag", Kind::Bool),
            ("int", Kind::Int),
            ("float", Kind::Int),
            ("time", Kind::Time),
            ("json", Kind::Json),
            ("null", Kind::Text),
            ("absent", Kind::Text),
        ];
        let mut columns: Vec<Column> = kinds.map(|(key, kind)| Column::new(key, kind)).into();
        columns.push(Column::new("hidden", Kind::Text).hidden());
        Table::new("things", columns)
    }

    fn rows() -> Vec<Row> {
        let texts = [
            "",
            "a",
            "\"quoted\" \\ \u{1} \u{7f} \u{2028} ünïcødé 🏰",
            &"x".repeat(255),
            &"y".repeat(70_000),
        ];
        let numbers = [0, 1, -1, i64::MIN, i64::MAX];
        let floats = [0.0, -0.5, 1e300, f64::NAN, f64::INFINITY];
        let times = [0, -1, 951_782_400_000, 1_700_000_000_123, i64::MAX];
        (0..5)
            .map(|n| {
                Row::new()
                    .with("id", format!("id {n}"))
                    .with("text", texts[n])
                    .with("flag", n % 2 == 0)
                    .with("int", numbers[n])
                    .with("float", floats[n])
                    .with("time", Timestamp::from_millis(times[n]))
                    .with("json", json!({ "list": [n, null, "\u{0}"], "object": { "b": 1, "a": 2 } }))
                    .with("null", Value::Null)
                    .with("hidden", "secret")
            })
            .collect()
    }

    #[test]
    fn rows_come_back_as_they_were() {
        let table = table();
        let mut packer = Packer::new(KNOWN_TEXT);
        rows().iter().for_each(|row| packer.push(&table, row));
        let bytes = packer.into_bytes();
        let mut unpacker = Unpacker::new(&bytes, KNOWN_TEXT);
        for row in rows() {
            // NaN is not equal to itself.
            assert_eq!(format!("{:?}", unpacker.row(&table)), format!("{:?}", Some(row.clone())));
            assert_eq!(to_json(&table, unpacked(&table, &row), true), to_json(&table, row, true));
        }
        assert!(unpacker.rest.is_empty());
    }

    fn unpacked(table: &Table, row: &Row) -> Row {
        let mut packer = Packer::new(KNOWN_TEXT);
        packer.push(table, row);
        Unpacker::new(&packer.into_bytes(), KNOWN_TEXT).row(table).unwrap()
    }

    #[test]
    fn texts_that_stand_there_already_take_four_bytes_and_the_known_one_takes_one() {
        let table = Table::new("things", ["a", "b", "c", "d"].map(|key| Column::new(key, Kind::Text)).into());
        let row =
            Row::new().with("a", "32 letters").with("b", "letter").with("c", KNOWN_TEXT).with("d", "le");
        let mut packer = Packer::new(KNOWN_TEXT);
        packer.push(&table, &row);
        packer.push(&table, &row);
        let bytes = packer.into_bytes();
        // Whole and in part, and not where it would be longer.
        assert_eq!(bytes.len(), (2 + 10) + 4 + 1 + (2 + 2) + 4 + 4 + 1 + (2 + 2));
        let mut unpacker = Unpacker::new(&bytes, KNOWN_TEXT);
        for _ in 0..2 {
            assert_eq!(format!("{:?}", unpacker.row(&table)), format!("{:?}", Some(row.clone())));
        }
        // Far away it is written again.
        let long = Row::new().with("a", "z".repeat(70_000)).with("b", "far away").with("c", "far away");
        assert_eq!(format!("{:?}", unpacked(&table, &long)), format!("{long:?}"));
    }

    #[test]
    fn json_is_what_is_made_of_the_row() {
        let table = table();
        for row in rows() {
            let mut packer = Packer::new(KNOWN_TEXT);
            packer.push(&table, &row);
            let mut out = Vec::new();
            Unpacker::new(&packer.into_bytes(), KNOWN_TEXT)
                .write_json(&Shape::from(&table), &mut out)
                .unwrap();
            let expected = Json::Object(to_json(&table, row, false)).to_string();
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
        // The first is not there or hidden, and a name needs escapes.
        let named = |hidden: bool| {
            let first = Column::new("first", Kind::Text);
            let first = if hidden { first.hidden() } else { first };
            Table::new("named", vec![first, Column::new("quo\"te\\d", Kind::Text)])
        };
        for (table, row) in [(named(true), Row::new().with("first", "secret")), (named(false), Row::new())] {
            let row = row.with("quo\"te\\d", "value");
            let mut packer = Packer::new(KNOWN_TEXT);
            packer.push(&table, &row);
            let mut out = b"before".to_vec();
            Unpacker::new(&packer.into_bytes(), KNOWN_TEXT)
                .write_json(&Shape::from(&table), &mut out)
                .unwrap();
            let expected = Json::Object(to_json(&table, row, false)).to_string();
            assert_eq!(String::from_utf8(out).unwrap(), format!("before{expected}"));
        }
        let mut out = Vec::new();
        let hidden = Table::new("empty", vec![Column::new("hidden", Kind::Text).hidden()]);
        Unpacker::new(&[NULL], "").write_json(&Shape::from(&hidden), &mut out).unwrap();
        assert_eq!(out, b"{}");
    }

    #[test]
    fn bytes_that_nobody_has_packed_are_nothing() {
        let table = table();
        let mut packer = Packer::new(KNOWN_TEXT);
        packer.push(&table, &rows()[2]);
        let bytes = packer.into_bytes();
        for end in 0..bytes.len() {
            assert!(Unpacker::new(&bytes[..end], KNOWN_TEXT).row(&table).is_none(), "{end}");
        }
        for bytes in [
            &[99][..],
            &[AGAIN, 0, 0, 5],
            &[AGAIN, 0xff, 0xff, 0xff],
            &[AGAIN, 1],
            &[TEXT, LONG, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            &[TEXT, 1, 0xff],
        ] {
            assert!(Unpacker::new(bytes, KNOWN_TEXT).row(&table).is_none());
        }
    }
}
