use std::path::Path;

use clap::CommandFactory as _;

use super::*;

fn file(text: &str) -> Result<Config, Error> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("server.yaml");
    std::fs::write(&path, text).unwrap();
    Config::load(Args {
        config: Some(path),
        ..Args::default()
    })
}

/// The settings that are refused, each with the text about it.
fn refused(error: Error) -> Vec<(&'static str, String)> {
    let Error::Values { wrong } = error else {
        panic!("{error}");
    };
    wrong
        .iter()
        .map(|wrong| (wrong.setting, wrong.to_string()))
        .collect()
}

#[test]
fn the_file_of_the_chart_is_read() {
    let config = file(
        "dataDir: /data\nweb:\n  address: \"0.0.0.0:8080\"\nagent:\n  address: \"0.0.0.0:8443\"\n\
         certificateLifetime: 24h\ntaskLease: 1h30m\nlog:\n  format: json\n  level: \"info\"\n",
    )
    .unwrap();
    assert_eq!(config.data_dir, Path::new("/data"));
    assert_eq!(config.certificate_lifetime, Duration::from_secs(86_400));
    assert_eq!(config.task_lease, Duration::from_secs(5400));
    assert_eq!(config.log_format, LogFormat::Json);
}

#[test]
fn flags_win_over_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("server.yaml");
    std::fs::write(&path, "dataDir: /file\ncertificateLifetime: 1h\n").unwrap();
    let args = Args {
        config: Some(path),
        data_dir: Some("/flag".into()),
        ..Args::default()
    };
    let config = Config::load(args).unwrap();
    assert_eq!(config.data_dir, Path::new("/flag"));
    assert_eq!(config.certificate_lifetime, Duration::from_secs(3600));
}

#[test]
fn files_of_another_form_are_refused() {
    for (text, expected) in [
        ("dataDirr: /data\n", "dataDirr"),
        ("web: {port: 80}\n", "port"),
        ("agent: {hostnames: [a]}\n", "hostnames"),
        ("web: {address: [a]}\n", ""),
        ("[1, 2]\n", ""),
    ] {
        let error = file(text).unwrap_err();
        assert_eq!(error.code(), "SRT-S131", "{text}");
        let Error::Parse { source, .. } = &error else {
            panic!("{text}: {error}");
        };
        assert!(source.to_string().contains(expected), "{text}: {source}");
    }
    let large = format!("log: {{level: {}}}", "a".repeat(70_000));
    assert_eq!(file(&large).unwrap_err().code(), "SRT-S130");
}

#[test]
fn every_wrong_value_is_named_with_what_to_write() {
    for (text, setting, advice) in [
        ("web: {address: nowhere}", "web.address", "127.0.0.1:8080"),
        (
            "agent: {address: ':8443'}",
            "agent.address",
            "127.0.0.1:8080",
        ),
        ("taskLease: soon", "taskLease", "such as 90s"),
        ("taskLease: 0s", "taskLease", "from 1s"),
        ("taskLease: -5m", "taskLease", "from 1s"),
        ("taskLease: 99999999h", "taskLease", "ten years"),
        ("taskLease: 30", "taskLease", "such as 90s"),
        ("certificateLifetime: 1 month", "certificateLifetime", "24h"),
        ("retention: {runs: 0}", "retention.runs", "from 1"),
        (
            "retention: {executions: forever}",
            "retention.executions",
            "90d",
        ),
        ("dataDir: ''", "dataDir", "such as /data"),
        ("log: {format: xml}", "log.format", "`json` or `human`"),
        ("log: {level: a=b=c}", "log.level", "a log level"),
        ("log: {level: wran}", "log.level", "a log level"),
        ("log: {level: ''}", "log.level", "a log level"),
        (
            "masterKeyFile: /nowhere/key",
            "masterKeyFile",
            "openssl rand",
        ),
        (
            "agent: {address: '0.0.0.0:8080'}",
            "agent.address",
            "each needs its own",
        ),
    ] {
        let found = refused(file(text).unwrap_err());
        assert_eq!(found.len(), 1, "{text}: {found:?}");
        let (name, message) = &found[0];
        assert_eq!(*name, setting, "{text}");
        assert!(message.contains(advice), "{text}: {message}");
        assert!(message.contains("the settings file /"), "{message}");
    }
}

#[test]
fn all_wrong_values_are_told_at_once_and_none_can_write_lines() {
    let error = file("taskLease: soon\nlog: {format: \"a\\e[31m\\nb\"}\n").unwrap_err();
    assert_eq!(error.code(), "SRT-S132");
    let text = error.to_string();
    assert_eq!(text.lines().count(), 2, "{text}");
    assert!(text.contains("`a[31mb`"), "{text}");
}

#[test]
fn what_is_printed_is_a_settings_file_of_the_same_settings() {
    let config = file("retention: {executions: 30d, runs: 3}\ndataDir: /d\ntaskLease: 1500ms\ncertificateLifetime: 90d\n").unwrap();
    assert_eq!(file(&config.to_file()).unwrap(), config);
}

#[test]
fn every_setting_has_the_flag_and_the_variable_that_its_errors_name() {
    let command = Args::command();
    for setting in [
        DATA_DIR,
        WEB_ADDRESS,
        AGENT_ADDRESS,
        MASTER_KEY_FILE,
        CERTIFICATE_LIFETIME,
        TASK_LEASE,
        KEPT_EXECUTIONS,
        KEPT_RUNS,
        KEPT_TASKS,
        LOG_FORMAT,
        LOG_LEVEL,
    ] {
        let found = command
            .get_arguments()
            .find(|known| known.get_id() == setting.id);
        let found = found.unwrap();
        let flag = found.get_long().map(|long| format!("--{long}"));
        assert_eq!(flag.as_deref(), Some(setting.flag));
        assert_eq!(found.get_env().unwrap(), setting.variable);
    }
}

#[test]
fn a_value_of_a_flag_names_the_flag() {
    let args = Args::read(["sortie-server", "--task-lease", "soon"]).unwrap();
    let found = refused(Config::load(args).unwrap_err());
    assert!(found[0].1.contains("the flag --task-lease"), "{found:?}");
    assert!(Args::read(["sortie-server", "--nonsense"]).is_err());
}
