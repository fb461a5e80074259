//! The flags about the log, and what they mean together.

use clap::Args;

use super::args::go_bool;
use super::error::ConfigError;
use super::log_level;
use crate::logging::{Logging, Output, Rotation};

/// Flags about the log.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Logging")]
pub struct JournalArgs {
    /// Accepted; there is one logger.
    #[arg(long, value_name = "NAME", default_value = "zap")]
    pub logger: String,

    /// Where to, comma-separated: default, stderr, stdout, or paths of files
    #[arg(long, value_name = "OUTPUTS", default_value = "default")]
    pub log_outputs: String,

    /// debug, info, warn, error, panic or fatal; or pairs such as info,raft=debug
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    pub log_level: String,

    /// console (or text), or json
    #[arg(long, value_name = "FORMAT", default_value = "console")]
    pub log_format: String,

    /// Put log files aside when they have grown
    #[arg(long, value_name = "BOOL", default_value = "false", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", value_parser = go_bool)]
    pub enable_log_rotation: bool,

    /// When: maxsize in MiB, maxage in days, maxbackups files
    #[arg(
        long,
        value_name = "JSON",
        default_value = r#"{"maxsize": 100, "maxage": 0, "maxbackups": 0, "localtime": false, "compress": false}"#
    )]
    pub log_rotation_config_json: String,
}

impl JournalArgs {
    pub(super) fn checked(&self) -> Result<Logging, ConfigError> {
        let ours = matches!(self.log_level.as_str(), "trace" | "off");
        let level = if ours || self.log_level.contains('=') {
            self.log_level.clone()
        } else {
            log_level(&self.log_level)?.as_str().to_ascii_lowercase()
        };
        let json = match self.log_format.as_str() {
            "console" | "text" | "" => false,
            "json" => true,
            other => {
                return Err(ConfigError::NotOneOf {
                    flag: "log-format",
                    value: other.to_owned(),
                    known: "console, text, json",
                });
            }
        };
        let words = self.log_outputs.split(',').map(str::trim);
        let mut outputs: Vec<Output> = words
            .filter(|word| !word.is_empty())
            .map(|word| match word {
                // What systemd runs, it reads there.
                "default" | "stderr" | "systemd/journal" => Output::Stderr,
                "stdout" => Output::Stdout,
                path => Output::File(path.into()),
            })
            .collect();
        if outputs.is_empty() {
            outputs.push(Output::Stderr);
        }
        Ok(Logging {
            rotation: self.rotation(&outputs)?,
            outputs,
            json,
            level,
        })
    }

    fn rotation(&self, outputs: &[Output]) -> Result<Option<Rotation>, ConfigError> {
        if !self.enable_log_rotation {
            return Ok(None);
        }
        if !outputs
            .iter()
            .any(|output| matches!(output, Output::File(_)))
        {
            return Err(ConfigError::Without {
                flag: "enable-log-rotation".into(),
                needs: "log-outputs=<path>".into(),
            });
        }
        let text = &self.log_rotation_config_json;
        let rotation: Rotation = serde_json::from_str(text).map_err(|_| ConfigError::NotOneOf {
            flag: "log-rotation-config-json",
            value: text.clone(),
            known: r#"{"maxsize": MiB, "maxage": days, "maxbackups": files}"#,
        })?;
        if rotation.maxsize == 0 {
            return Err(ConfigError::Zero {
                flag: "log-rotation-config-json maxsize",
            });
        }
        if rotation.compress || rotation.localtime {
            return Err(ConfigError::NotYet {
                setting: "--log-rotation-config-json".into(),
                what: "compress or localtime",
                instead: "leave them out: files are kept as they are, and times are UTC",
            });
        }
        Ok(Some(rotation))
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::super::args::Args;
    use super::*;

    fn logging(flags: &[&str]) -> Result<Logging, ConfigError> {
        let line = std::iter::once("muster store").chain(flags.iter().copied());
        let args = <Args as clap::Parser>::try_parse_from(line).unwrap();
        args.journal.checked()
    }

    #[test]
    fn outputs_forms_and_levels() {
        let plain = logging(&[]).unwrap();
        assert_eq!(plain.outputs, [Output::Stderr]);
        assert!(!plain.json && plain.rotation.is_none());
        assert_eq!(plain.level, "info");
        let all = logging(&[
            "--log-outputs=stdout,stderr,/var/log/etcd.log",
            "--log-format=json",
            "--log-level=fatal",
            "--enable-log-rotation",
            r#"--log-rotation-config-json={"maxsize": 5}"#,
        ])
        .unwrap();
        let file = Output::File(PathBuf::from("/var/log/etcd.log"));
        assert_eq!(all.outputs, [Output::Stdout, Output::Stderr, file]);
        assert!(all.json);
        assert_eq!(all.level, "error");
        assert_eq!(all.rotation.unwrap().maxsize, 5);
        assert_eq!(
            logging(&["--log-level=info,raft=debug"]).unwrap().level,
            "info,raft=debug"
        );
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let file = "--log-outputs=f";
        let rotate = "--enable-log-rotation";
        for flags in [
            &["--log-format=xml"][..],
            &["--log-level=loud"],
            &[rotate],
            &[rotate, file, "--log-rotation-config-json=x"],
            &[rotate, file, r#"--log-rotation-config-json={"maxsize": 0}"#],
            &[
                rotate,
                file,
                r#"--log-rotation-config-json={"compress": true}"#,
            ],
        ] {
            assert!(logging(flags).unwrap_err().hint().is_some(), "{flags:?}");
        }
    }
}
