//! Values that are known only when the tracer starts: parameters and facts of
//! the target, stored into `.rodata`.
//!
//! In: the manifest's slots, the options, the target. Out: a filled-in image.
//! Text where a number is needed is a start-up error, before anything is loaded.

use crate::attach::Plan;
use crate::context::Context;
use crate::image::Image;
use crate::options::{Options, parse_number};
use crate::render::names;
use crate::sys;
use crate::target::features::{self, Features};
use crate::target::functions;
use anyhow::{Context as _, Result, bail};
use btc_payload::layout::{HIST_MAX_BITS, ValueType, hist_buckets, lhist_buckets, lhist_fault};
use btc_payload::manifest::{Manifest, OptionValue};
use btc_payload::start::{Buckets, Feature, MAX_UNROLL, NameTable, Slot, StartValue};
use std::os::unix::fs::MetadataExt;

const UNROLL_MOST: u64 = MAX_UNROLL as u64;

/// What a slot gets.
enum Value {
    Int(u64),
    Text(String),
    Table(NameTable),
}

impl Context<'_> {
    /// Fills in all slots.
    pub fn fill_constants(&self, image: &mut Image, plan: &Plan) -> Result<()> {
        for slot in &self.manifest.slots {
            self.fill_one(image, slot, plan)?;
        }
        Ok(())
    }

    fn fill_one(&self, image: &mut Image, slot: &Slot, plan: &Plan) -> Result<()> {
        match self.value(&slot.value, plan)? {
            Value::Int(v) => image.set_int(slot.offset, slot.size, v),
            Value::Text(t) => image.set_text(slot.offset, slot.size, &t),
            Value::Table(table) => (0..=table.entries()).try_for_each(|i| {
                // The last one stands for all numbers that have no name.
                let number = if i == table.entries() { i32::MAX } else { i as i32 };
                let text = match table {
                    NameTable::Errors => names::error_text(number),
                    NameTable::Signals => names::signal_text(number),
                    NameTable::Syscalls => names::syscall_text(number.into()).to_string(),
                };
                image.set_text(slot.offset + i * table.width(), table.width(), &text)
            }),
        }
    }

    fn value(&self, wanted: &StartValue, plan: &Plan) -> Result<Value> {
        use StartValue::*;
        Ok(Value::Int(match wanted {
            ParameterInt(_) | OptionInt(_) | Literal(_) => self.given(wanted)? as u64,
            StartValue::Buckets(of) => match histogram(self.manifest, &self.options, of)? {
                ValueType::Hist { bits } => hist_buckets(bits).into(),
                ValueType::Lhist { min, max, step } => lhist_buckets(min, max, step).into(),
                _ => 0,
            },
            ParameterText(n) => return Ok(Value::Text(self.parameter(*n).unwrap_or_default().to_string())),
            ParameterLength(n) => self.parameter(*n).unwrap_or_default().len() as u64,
            ParameterCount => self.options.parameters.len() as u64,
            OptionText(i) => match option(&self.options, *i)? {
                OptionValue::Text(t) => return Ok(Value::Text(t.clone())),
                other => bail!("the payload is inconsistent: {other:?} is used as text"),
            },
            ChildPid => self.child.unwrap_or(0).into(),
            HasChild => self.child.is_some().into(),
            // Not the -c child: what it starts is to be seen, too.
            PidFilter => self.options.pid.unwrap_or(0).into(),
            OwnPid => std::process::id().into(),
            PidNamespaceInode => pid_namespace().map_or(0, |(_, inode)| inode),
            PidNamespaceDevice => pid_namespace().map_or(0, |(device, _)| device),
            StartTime => sys::clock_ns(libc::CLOCK_BOOTTIME),
            WallClockOffset => sys::clock_ns(libc::CLOCK_REALTIME).wrapping_sub(sys::clock_ns(libc::CLOCK_BOOTTIME)),
            TaiOffset => sys::clock_ns(libc::CLOCK_TAI).wrapping_sub(sys::clock_ns(libc::CLOCK_BOOTTIME)),
            Cpus => sys::possible_cpus().into(),
            KernelAddress(name) | PerCpuAddress(name) => kernel_address(self.named(name))?,
            CgroupId(path) => cgroup_id(self.named(path))?,
            UserAddress { path, symbol, size } => {
                let found = crate::attach::uprobe::symbol_address(path, symbol, self.traced_pid())?;
                if !self.options.no_warnings && found.1 != u64::from(*size) && matches!(found.1, 1 | 2 | 4) {
                    eprintln!(
                        "WARNING: {symbol} of {path} has {} bytes, but the script was built for {size}: \
                         build it where {path} can be read",
                        found.1
                    );
                }
                found.0
            }
            UserBase { path, at } => crate::attach::uprobe::base(self, path, at.as_ref())?.0,
            UserReference { path, at } => crate::attach::uprobe::base(self, path, at.as_ref())?.1,
            KfuncExists(name) => self.btf().is_ok_and(|b| b.function_id(name).is_some()).into(),
            KfuncAllowed { name, program } => {
                let id = self.btf().ok().and_then(|b| Some((b.function_id(name)?, b.function_id("bpf_fentry_test1"))));
                id.is_some_and(|(id, any)| features::kfunc_allowed(*program, id, any.unwrap_or(0))).into()
            }
            Feature(f) => self.features.has(*f).into(),
            // `-k` is a flag of the run, but programs read it like a setting.
            Setting(name) if name == "helper_errors" => self.options.helper_errors.into(),
            Setting(name) => self.settings.number(name),
            UnrollCount(n) => match number_parameter(self.manifest, &self.options, *n)? {
                count @ 1..=UNROLL_MOST => count,
                count => bail!("parameter ${n} is the count of unroll: {} is not 1 to {UNROLL_MOST}", count as i64),
            },
            ProbeId { program, name } => plan.ids(*program, name)?.0,
            ProbeCount { program, name } => plan.ids(*program, name)?.1,
            Names(table) => return Ok(Value::Table(*table)),
        }))
    }

    /// A name of the payload: of the form `$N` it is that parameter.
    fn named<'n>(&'n self, name: &'n str) -> &'n str {
        match name.strip_prefix('$').and_then(|n| n.parse().ok()) {
            Some(n) => self.parameter(n).unwrap_or_default(),
            None => name,
        }
    }

    fn given(&self, value: &StartValue) -> Result<i64> {
        given(self.manifest, &self.options, value)
    }
}

/// A number that the run or the script gives; others are none of these.
fn given(manifest: &Manifest, options: &Options, value: &StartValue) -> Result<i64> {
    Ok(match value {
        StartValue::Literal(v) => *v,
        StartValue::ParameterInt(n) => number_parameter(manifest, options, *n)? as i64,
        StartValue::OptionInt(i) => match option(options, *i)? {
            OptionValue::Int(v) => *v,
            OptionValue::Bool(b) => i64::from(*b),
            OptionValue::Text(t) => bail!("option value `{t}` is used as a number"),
        },
        _ => 0,
    })
}

fn number_parameter(manifest: &Manifest, options: &Options, n: u32) -> Result<u64> {
    let Some(text) = (n as usize).checked_sub(1).and_then(|i| options.parameters.get(i)) else { return Ok(0) };
    match parse_number(text) {
        Some(v) => Ok(v as u64),
        // A parameter that is used as text elsewhere may be text.
        None if manifest.positional.get(n as usize - 1).is_some_and(|p| p.text && !p.number) => Ok(0),
        None => bail!("parameter ${n} must be a number, but `{text}` is none"),
    }
}

fn option(options: &Options, index: u32) -> Result<&OptionValue> {
    options.named.get(index as usize).context("the payload is inconsistent: an option has no declaration")
}

/// The histogram that arguments make.
fn histogram(manifest: &Manifest, options: &Options, of: &Buckets) -> Result<ValueType> {
    let given = |v| given(manifest, options, v);
    match of {
        Buckets::Hist(bits) => match given(bits)? {
            v if (0..=i64::from(HIST_MAX_BITS)).contains(&v) => Ok(ValueType::Hist { bits: v as u8 }),
            v => bail!("`hist` takes 0 to {HIST_MAX_BITS} bits, not {v}"),
        },
        Buckets::Lhist([min, max, step]) => {
            let (min, max, step) = (given(min)?, given(max)?, given(step)?);
            match lhist_fault(min, max, step) {
                Some((_, fault)) => bail!("{fault}: lhist(value, {min}, {max}, {step})"),
                None => Ok(ValueType::Lhist { min, max, step }),
            }
        }
    }
}

/// Gives the maps the histograms that this run decides.
pub fn decide_histograms(manifest: &mut Manifest, options: &Options) -> Result<()> {
    for i in 0..manifest.maps.len() {
        if let Some(of) = &manifest.maps[i].buckets {
            manifest.maps[i].value = histogram(manifest, options, of)?;
        }
    }
    Ok(())
}

/// Device and inode of this process's PID namespace, unless it is the initial one.
fn pid_namespace() -> Option<(u64, u64)> {
    // PROC_PID_INIT_INO of include/linux/proc_ns.h.
    const INITIAL: u64 = 0xefff_fffc;
    let meta = std::fs::metadata("/proc/self/ns/pid").ok()?;
    (meta.ino() != INITIAL).then(|| (meta.dev(), meta.ino()))
}

fn kernel_address(symbol: &str) -> Result<u64> {
    match functions::address(symbol)? {
        Some(0) => bail!("the address of kernel symbol {symbol} is hidden; run as root, or lower kernel.kptr_restrict"),
        Some(address) => Ok(address),
        None => bail!("kernel symbol {symbol} does not exist on this kernel"),
    }
}

/// The id of a cgroup is the inode number of its directory.
fn cgroup_id(path: &str) -> Result<u64> {
    let meta = std::fs::metadata(path).with_context(|| format!("cannot find cgroup {path}"))?;
    Ok(meta.ino())
}

/// Features that the script needs and this kernel lacks, as messages.
pub fn missing_features(manifest: &Manifest, features: &Features) -> Vec<String> {
    let lacking = manifest.requirements.iter().filter(|r| !features.has(r.feature));
    lacking
        .map(|r| {
            let (name, since) = crate::target::features::describe(r.feature);
            let place = manifest.locations.get(r.location.0 as usize);
            let place = place.map(|l| format!("{}:{}:{}: ", l.file, l.line, l.column)).unwrap_or_default();
            let hint = match r.feature {
                Feature::Fentry => "Linux 5.5 with BTF and function tracing; use a kprobe instead",
                _ => "use a newer kernel, or write the script without it",
            };
            format!("{place}{} needs {name}, which this kernel does not have (Linux {since}): {hint}", r.construct)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Options;
    use crate::settings::Settings;
    use btc_payload::manifest::Positional;

    fn image() -> Image {
        Image::new(&crate::image::tests::object(&[])).unwrap()
    }

    #[test]
    fn parameters() {
        let slot = |offset, size, value| Slot { offset, size, value };
        let mut manifest = Manifest {
            slots: vec![
                slot(0, 8, StartValue::ParameterInt(1)),
                slot(8, 4, StartValue::ParameterText(2)),
                slot(12, 4, StartValue::ParameterCount),
                slot(16, 8, StartValue::ParameterInt(9)),
            ],
            positional: vec![Positional::default(); 9],
            ..Manifest::default()
        };
        let options = Options { parameters: vec!["0x10".into(), "abcdef".into()], ..Options::default() };
        let context = Context::new(&manifest, options.clone(), Settings::default());
        let mut filled = image();
        context.fill_constants(&mut filled, &Plan::default()).unwrap();
        assert_eq!(filled.constant(0, 8).unwrap(), 16u64.to_le_bytes());
        assert_eq!(filled.constant(8, 8).unwrap(), *b"abc\0\x02\0\0\0");
        assert_eq!(filled.constant(16, 8).unwrap(), [0; 8]);

        manifest.slots = vec![slot(0, 8, StartValue::ParameterInt(2))];
        manifest.positional[1].number = true;
        let context = Context::new(&manifest, options, Settings::default());
        assert!(context.fill_constants(&mut image(), &Plan::default()).unwrap_err().to_string().contains("$2"));
    }
}
