//! Formats of tracepoints, as tracefs describes them.
//!
//! In: the text of a `format` file, or the same lines from the reference.
//! Out: the fields of the event's record.
//! Invariants: lines that are no fields are skipped, so that both forms read the
//! same; offsets and sizes are the described kernel's, another one may differ.

use anyhow::{Context, Result};

/// Where tracefs may be mounted.
const TRACEFS: [&str; 2] = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];

/// What a tracepoint's record holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TracepointFormat {
    /// Category, such as `sched`.
    pub category: String,
    /// Name within the category.
    pub name: String,
    /// X of the record's `struct trace_event_raw_X` in BTF; unknown for formats
    /// from tracefs, absent for system calls, whose records have no struct.
    pub class: Option<String>,
    /// Fields in order, the common ones first.
    pub fields: Vec<TracepointField>,
}

/// A field of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TracepointField {
    /// Name.
    pub name: String,
    /// C type as written, of the elements if it is an array: `const char *`.
    pub ty: String,
    /// Offset in the record, in bytes.
    pub offset: u32,
    /// Size in the record, in bytes: 4 for `__data_loc`.
    pub size: u32,
    /// Whether integers are signed.
    pub signed: bool,
    /// Number of elements of an array; where it is not written as a number, or
    /// varies from record to record, 0.
    pub array: Option<u32>,
    /// How the contents are found.
    pub place: FieldPlace,
}

/// Where a field's contents are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldPlace {
    /// In the field.
    Inline,
    /// The field holds length << 16 | offset from the start of the record.
    DataLoc,
    /// The field holds length << 16 | offset from the end of the field.
    RelLoc,
}

impl TracepointFormat {
    /// The field of this name.
    pub fn field(&self, name: &str) -> Option<&TracepointField> {
        self.fields.iter().find(|field| field.name == name)
    }

    /// Fields that are the tracepoint's own, and not common to all.
    pub fn own_fields(&self) -> impl Iterator<Item = &TracepointField> {
        self.fields.iter().filter(|f| !f.name.starts_with("common_"))
    }

    /// Name of the record's struct in BTF, without `struct`.
    pub fn record_struct(&self) -> Option<String> {
        let class = self.class.as_ref()?;
        Some(format!("trace_event_raw_{class}"))
    }
}

impl TracepointField {
    /// Name of the member that is this field in the record's struct.
    pub fn record_member(&self) -> String {
        match self.place {
            FieldPlace::Inline => self.name.clone(),
            FieldPlace::DataLoc => format!("__data_loc_{}", self.name),
            FieldPlace::RelLoc => format!("__rel_loc_{}", self.name),
        }
    }
}

/// Reads the text of a format.
pub fn parse(category: &str, name: &str, class: Option<&str>, text: &str) -> TracepointFormat {
    TracepointFormat {
        category: category.to_owned(),
        name: name.to_owned(),
        class: class.map(str::to_owned),
        fields: text.lines().filter_map(parse_field).collect(),
    }
}

/// The format that the running kernel shows, if tracefs can be read.
pub fn running(category: &str, name: &str) -> Result<TracepointFormat> {
    let read = |root: &str| {
        let path = format!("{root}/events/{category}/{name}/format");
        std::fs::read_to_string(path)
    };
    let text = read(TRACEFS[0]).or_else(|_| read(TRACEFS[1]));
    let text = text.with_context(|| format!("cannot read the format of {category}:{name}"))?;
    Ok(parse(category, name, None, &text))
}

/// `field:DECLARATION;  offset:N;  size:N;  signed:N;`
fn parse_field(line: &str) -> Option<TracepointField> {
    let rest = line.trim_start().strip_prefix("field:")?;
    let (declaration, numbers) = rest.split_once(';')?;
    let number = |key: &str| numbers.split(';').find_map(|part| part.trim().strip_prefix(key)?.parse().ok());
    let mut field = parse_declaration(declaration)?;
    field.offset = number("offset:")?;
    field.size = number("size:")?;
    field.signed = number("signed:") == Some(1);
    Some(field)
}

fn parse_declaration(declaration: &str) -> Option<TracepointField> {
    let declaration = declaration.trim();
    let (place, declaration) = if let Some(rest) = declaration.strip_prefix("__data_loc ") {
        (FieldPlace::DataLoc, rest)
    } else if let Some(rest) = declaration.strip_prefix("__rel_loc ") {
        (FieldPlace::RelLoc, rest)
    } else {
        (FieldPlace::Inline, declaration)
    };
    // `char comm[16]`, but `__data_loc char[] name`.
    let (array, declaration) = match (declaration.find('['), declaration.find(']')) {
        (Some(open), Some(close)) if open < close => {
            let len = declaration[open + 1..close].trim().parse().unwrap_or(0);
            let rest = format!("{} {}", &declaration[..open], &declaration[close + 1..]);
            (Some(len), rest)
        }
        _ => (None, declaration.to_owned()),
    };
    let declaration = declaration.trim_end();
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let name_at = declaration.trim_end_matches(is_name).len();
    let (ty, name) = declaration.split_at(name_at);
    (!name.is_empty()).then(|| TracepointField {
        name: name.to_owned(),
        ty: ty.split_whitespace().collect::<Vec<_>>().join(" "),
        offset: 0,
        size: 0,
        signed: false,
        array,
        place,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn declarations_are_taken_apart() {
        let text = "name: x\nformat:\n\
            \tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n\n\
            \tfield:const char * filename;\toffset:8;\tsize:8;\tsigned:0;\n\
            \tfield:char comm[16];\toffset:16;\tsize:16;\tsigned:1;\n\
            \tfield:__data_loc char[] name;\toffset:32;\tsize:4;\tsigned:0;\n\
            \tfield:u8 addr[ADDR_LEN];\toffset:36;\tsize:6;\tsigned:0;\n\
            print fmt: \"field: %d\"\n";
        let format = parse("c", "x", Some("x_class"), text);
        let summary: Vec<_> =
            format.own_fields().map(|f| (f.name.as_str(), f.ty.as_str(), f.offset, f.array, f.place)).collect();
        use FieldPlace::*;
        assert_eq!(
            summary,
            [
                ("filename", "const char *", 8, None, Inline),
                ("comm", "char", 16, Some(16), Inline),
                ("name", "char", 32, Some(0), DataLoc),
                ("addr", "u8", 36, Some(0), Inline),
            ]
        );
        assert_eq!(format.fields.len(), 5);
        assert_eq!(format.field("name").map(|f| f.record_member()).as_deref(), Some("__data_loc_name"));
        assert_eq!(format.record_struct().as_deref(), Some("trace_event_raw_x_class"));
    }
}
