//! Reads the messages of a job and the options of their fields from the compiled contract. What is missing stops the build.

use prost_reflect::{
    DescriptorPool, DynamicMessage, EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor, ReflectMessage, Value,
};

use crate::amount;

/// Messages that files write as one value or as a list.
const OPAQUE: [&str; 3] = ["JobKey", "Compare", "ValueSet"];

pub struct Message {
    pub name: String,
    pub heading: String,
    pub order: Vec<String>,
    pub also: Vec<(String, String)>,
    pub fields: Vec<Field>,
    /// With what is wrong when a file has two of it.
    pub choices: Vec<(String, String)>,
}

pub struct Field {
    pub descriptor: FieldDescriptor,
    pub options: DynamicMessage,
    pub file: String,
    pub unit: Unit,
    pub default: Option<i64>,
    pub min: Option<i64>,
    pub max: Option<i64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    None,
    Size,
    Duration,
    Thousandths,
    Octal,
    Percent,
}

impl Field {
    pub fn name(&self) -> &str {
        self.descriptor.name()
    }

    pub fn text(&self, option: &str) -> String {
        self.options.get_field_by_name(option).and_then(|value| value.as_str().map(str::to_string)).unwrap_or_default()
    }

    pub fn flag(&self, option: &str) -> bool {
        self.options.get_field_by_name(option).and_then(|value| value.as_bool()).unwrap_or(false)
    }

    pub fn texts(&self, option: &str) -> Vec<String> {
        texts(&self.options, option)
    }

    pub fn max_items(&self) -> u32 {
        self.options.get_field_by_name("max_items").and_then(|value| value.as_u32()).unwrap_or(0)
    }

    /// The name of an enum's value.
    pub fn choice(&self, option: &str) -> String {
        let number = self.options.get_field_by_name(option).and_then(|value| value.as_enum_number()).unwrap_or(0);
        match self.options.descriptor().get_field_by_name(option).map(|field| field.kind()) {
            Some(Kind::Enum(values)) => {
                values.get_value(number).map(|value| value.name().to_string()).unwrap_or_default()
            }
            _ => String::new(),
        }
    }

    /// The kind of one value: of a table, of what a name leads to.
    pub fn value_kind(&self) -> Kind {
        match self.descriptor.kind() {
            Kind::Message(entry) if entry.is_map_entry() => entry.map_entry_value_field().kind(),
            kind => kind,
        }
    }

    /// The message that it is, where that has fields in files.
    pub fn message(&self) -> Option<MessageDescriptor> {
        match self.value_kind() {
            Kind::Message(message) if !OPAQUE.contains(&message.name()) => Some(message),
            _ => None,
        }
    }

    pub fn oneof(&self) -> Option<String> {
        let oneof = self.descriptor.containing_oneof()?;
        (!oneof.is_synthetic()).then(|| oneof.name().to_string())
    }
}

/// Every message that a job is made of, those that others use first.
pub fn read(descriptors: &[u8]) -> Result<Vec<Message>, String> {
    let pool = DescriptorPool::decode(descriptors).map_err(|error| error.to_string())?;
    let job = pool.get_message_by_name("dawn.v1.JobSpec").ok_or("there is no dawn.v1.JobSpec")?;
    let mut messages = Vec::new();
    message(&pool, &job, &mut messages)?;
    Ok(messages)
}

fn message(pool: &DescriptorPool, of: &MessageDescriptor, messages: &mut Vec<Message>) -> Result<(), String> {
    if messages.iter().any(|known| known.name == of.name()) {
        return Ok(());
    }
    let mut fields = Vec::new();
    for descriptor in in_order_of_the_file(of) {
        let read = field(pool, of, descriptor)?;
        if let Some(inner) = read.message() {
            message(pool, &inner, messages)?;
        }
        fields.push(read);
    }
    let own = extension(pool, "message", &of.options());
    let list = |option: &str| own.as_ref().map(|own| texts(own, option)).unwrap_or_default();
    let also =
        own.as_ref().and_then(|own| Some(own.get_field_by_name("also")?.as_list()?.to_vec())).unwrap_or_default();
    let pair = |also: &Value| also.as_message().map(|also| (text(also, "file"), text(also, "doc")));
    let oneofs = of.oneofs().filter(|oneof| !oneof.is_synthetic());
    let twice = |options: &DynamicMessage| {
        extension(pool, "choice", options).map(|choice| text(&choice, "twice")).unwrap_or_default()
    };
    messages.push(Message {
        name: of.name().to_string(),
        heading: own.as_ref().map(|own| text(own, "heading")).unwrap_or_default(),
        order: list("order"),
        also: also.iter().filter_map(pair).collect(),
        choices: oneofs.map(|oneof| (oneof.name().to_string(), twice(&oneof.options()))).collect(),
        fields,
    });
    Ok(())
}

/// `fields()` goes by number.
fn in_order_of_the_file(of: &MessageDescriptor) -> Vec<FieldDescriptor> {
    let declared = of.descriptor_proto().field.iter();
    declared.filter_map(|field| of.get_field(u32::try_from(field.number()).ok()?)).collect()
}

fn field(pool: &DescriptorPool, of: &MessageDescriptor, descriptor: FieldDescriptor) -> Result<Field, String> {
    let wrong = |what: &str| format!("{}.{}: {what}", of.full_name(), descriptor.name());
    let options = extension(pool, "field", &descriptor.options());
    let options =
        options.ok_or_else(|| wrong("every field of a job says what it is: [(options.field) = { doc: … }]"))?;
    let mut read = Field {
        file: text(&options, "file"),
        unit: Unit::None,
        default: None,
        min: None,
        max: None,
        options,
        descriptor: descriptor.clone(),
    };
    let (short, by_name) = by_name(descriptor.name());
    read.unit = match read.choice("unit").as_str() {
        "SIZE" => Unit::Size,
        "DURATION" => Unit::Duration,
        "THOUSANDTHS" => Unit::Thousandths,
        "OCTAL" => Unit::Octal,
        "PERCENT" => Unit::Percent,
        _ => by_name,
    };
    if read.file.is_empty() {
        read.file = short.to_string();
    }
    if read.text("doc").is_empty() {
        return Err(wrong("has no doc"));
    }
    if of.name() == "JobSpec" && read.choice("concerns") == "CONCERNS_UNSAID" {
        return Err(wrong("says not whether it concerns a TASK or only the JOB"));
    }
    if is_unpacked(&descriptor) {
        // The compiler for Rust takes options without it for `packed = false`.
        return Err(wrong("a list of numbers with options says packed = true"));
    }
    bounds(pool, &mut read).map_err(|error| wrong(&error))?;
    Ok(read)
}

fn is_unpacked(descriptor: &FieldDescriptor) -> bool {
    let is_number = !matches!(descriptor.kind(), Kind::String | Kind::Bytes | Kind::Message(_));
    let packed = descriptor.options().get_field_by_name("packed").and_then(|packed| packed.as_bool());
    descriptor.is_list() && is_number && packed != Some(true)
}

fn by_name(name: &str) -> (&str, Unit) {
    let units = [("_ms", Unit::Duration), ("_bytes", Unit::Size), ("_milli", Unit::Thousandths)];
    let unit = units.iter().find_map(|(end, unit)| Some((name.strip_suffix(end)?, *unit)));
    unit.unwrap_or((name, Unit::None))
}

fn bounds(pool: &DescriptorPool, field: &mut Field) -> Result<(), String> {
    let kind = field.value_kind();
    // The bound of a text is its bytes.
    let unit = if matches!(kind, Kind::String) { Unit::None } else { field.unit };
    let amount = |text: String| if text.is_empty() { Ok(None) } else { amount::number(&text, unit).map(Some) };
    field.min = amount(field.text("min"))?;
    field.max = amount(field.text("max"))?;
    let default = field.text("default");
    field.default = match kind {
        Kind::String => None,
        Kind::Enum(values) if !default.is_empty() => {
            let words = words(pool, &values);
            let word = words.iter().find(|(word, _)| *word == default);
            Some(i64::from(word.ok_or_else(|| format!("{default:?} is none of the words"))?.1))
        }
        _ => amount(default)?,
    };
    Ok(())
}

/// The words of files for an enum's values.
pub fn words(pool: &DescriptorPool, values: &EnumDescriptor) -> Vec<(String, i32)> {
    let Some(word) = pool.get_extension_by_name("dawn.options.word") else { return Vec::new() };
    let said = |value: prost_reflect::EnumValueDescriptor| {
        let options = value.options();
        let word = options.get_extension(&word).as_str().map(str::to_string).unwrap_or_default();
        (!word.is_empty()).then(|| (word, value.number()))
    };
    values.values().filter_map(said).collect()
}

fn extension(pool: &DescriptorPool, name: &str, options: &DynamicMessage) -> Option<DynamicMessage> {
    let extension = pool.get_extension_by_name(&format!("dawn.options.{name}"))?;
    if !options.has_extension(&extension) {
        return None;
    }
    options.get_extension(&extension).as_message().cloned()
}

fn text(options: &DynamicMessage, option: &str) -> String {
    options.get_field_by_name(option).and_then(|value| value.as_str().map(str::to_string)).unwrap_or_default()
}

fn texts(options: &DynamicMessage, option: &str) -> Vec<String> {
    let Some(value) = options.get_field_by_name(option) else { return Vec::new() };
    let list = value.as_list().unwrap_or_default();
    list.iter().filter_map(|item| item.as_str().map(str::to_string)).collect()
}
