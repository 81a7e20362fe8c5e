//! Compiles the wire contract with the vendored protoc, and the options of job.proto into tables and checks.

#[path = "build/amount.rs"]
mod amount;
#[path = "build/bounds.rs"]
mod bounds;
#[path = "build/fields.rs"]
mod fields;
#[path = "build/names.rs"]
mod names;
#[path = "build/tables.rs"]
mod tables;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files = [
        "dawn/options.proto",
        "dawn/v1/error.proto",
        "dawn/v1/isolation.proto",
        "dawn/v1/policy.proto",
        "dawn/v1/job.proto",
        "dawn/v1/batch.proto",
        "dawn/v1/quota.proto",
        "dawn/v1/task.proto",
        "dawn/v1/jobs.proto",
        "dawn/v1/tasks.proto",
        "dawn/v1/cron.proto",
        "dawn/v1/nodes.proto",
        "dawn/v1/reach.proto",
        "dawn/v1/admin.proto",
        "dawn/v1/inspect.proto",
        "dawn/v1/restore.proto",
        "dawn/v1/agent.proto",
        "dawn/v1/executor.proto",
        "dawn/v1/update.proto",
        "dawn/v1/maintenance.proto",
        "dawn/v1/loss.proto",
        "dawn/v1/blame.proto",
        "dawn/v1/welcome.proto",
        "dawn/v1/journal.proto",
    ];
    for file in files.iter().chain(&["build", "build.rs"]) {
        println!("cargo:rerun-if-changed={file}");
    }
    let mut config = tonic_prost_build::Config::new();
    config.protoc_executable(protoc_bin_vendored::protoc_bin_path()?);
    config.btree_map(["."]);
    let out = std::path::PathBuf::from(std::env::var("OUT_DIR")?);
    let descriptors = out.join("dawn.v1.bin");
    config.file_descriptor_set_path(&descriptors);
    // The large ones, so that the many small records don't each take their room.
    for record in ["job_versioned", "agent_seen"] {
        config.boxed(format!(".dawn.v1.Record.record.{record}"));
    }
    let standard = protoc_bin_vendored::include_path()?;
    let includes = [".", standard.to_str().ok_or("the path of the standard contracts is no text")?];
    tonic_prost_build::configure().compile_with_config(config, &files, &includes)?;
    let descriptors = std::fs::read(descriptors)?;
    std::fs::write(out.join("names.rs"), names::write(&descriptors)?)?;
    let messages = fields::read(&descriptors)?;
    std::fs::write(out.join("fields.rs"), tables::write(&messages))?;
    std::fs::write(out.join("bounds.rs"), bounds::write(&messages))?;
    Ok(())
}
