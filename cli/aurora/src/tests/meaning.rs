//! Binding, scopes, coercion and the helpers: what a right file means.

use serde_json::json;

use super::super::{Options, json_schema};
use super::{BASE, evaluate_files, job, jobs};

#[test]
fn a_call_copies_and_leaves_the_original_as_it_was() {
    let jobs = jobs("jobs = [J(name = 'a', instances = 3), J(name = 'b'), J]");
    let facts: Vec<_> = jobs.iter().map(|job| (job.key(), job.tree["instances"].clone())).collect();
    assert_eq!(facts, [("c/r/e/a".into(), json!(3)), ("c/r/e/b".into(), json!(1)), ("c/r/e/n".into(), json!(1))]);
}

#[test]
fn references_see_the_nearest_scope_first() {
    let text = "t = T(name = '{{x}}-{{role}}-{{super.name}}-{{self.max_failures}}')
jobs = [J(task = t.bind(x = 'near'), name = 'j{{x}}').bind(x = 'far')]";
    let job = job(text);
    assert_eq!(job.tree["name"], "jfar");
    assert_eq!(job.tree["task"]["name"], "near-r-jnear-1");
    assert_eq!(job.problems, []);
}

/// Each as pystachio itself resolves it.
#[test]
fn references_lead_through_the_tree_as_in_the_original() {
    let text =
        "t = T(processes = [P(name = '{{x}}', cmdline = '{{super.name}} {{super.super.role}} {{task.name}} {{name}}')])
jobs = [J(name = 'a', task = t.bind(x = 'near')).bind(x = 'far'),
  J(name = 'b', task = T(processes = [P(name = '{{x}}').bind(x = 'element')])).bind(x = 'far')]";
    let jobs = jobs(text);
    assert_eq!(jobs[0].tree["task"]["processes"][0]["cmdline"], "a r near near");
    assert_eq!(jobs[1].tree["task"]["name"], "element");
    let text = "class Q(Struct):
  a = Default(String, '{{b}}')
  b = Default(String, 'own')
  c = Default(String, '{{role}}')

jobs = [J(name = '{{q.a}} {{q.c}} {{constraints[{{k}}]}}', role = '{{z}}', constraints = {'k1': 'v{{z}}'}
  ).bind(q = Q(b = '{{z}}'), k = 'k1').bind(z = 'zz')]";
    assert_eq!(job(text).tree["name"], "zz zz vzz");
}

#[test]
fn a_later_binding_is_nearer_than_an_earlier_one() {
    assert_eq!(job("jobs = [J(name = '{{x}}').bind(x = 'a').bind(x = 'b')]").tree["name"], "b");
    assert_eq!(job("jobs = [J(name = '{{x}}').bind({'x': 'a'}, {'x': 'b'})]").tree["name"], "b");
    assert_eq!(job("jobs = [J(name = '{{x.y}}{{x[z]}}').bind({'x': {'y': 1}, 'x[z]': 2.5})]").tree["name"], "12.5");
}

#[test]
fn structs_of_ones_own_have_defaults_and_required_fields() {
    let text = "class Profile(Struct):
  cmd = Required(String)
  count = Default(Integer, 2)
  sizes = Default(Map(String, Integer), {'small': 1})
  tags = List(String)

p = Profile(cmd = 'ls {{tags_hint}}', tags = ['a', 'b'])
jobs = [J(name = '{{profile.tags[1]}}{{profile.sizes[small]}}', instances = '{{profile.count}}',
          task = T(processes = [P(cmdline = '{{profile.cmd}}')])).bind(profile = p, tags_hint = 'x')]";
    let job = job(text);
    assert_eq!((&job.tree["name"], &job.tree["instances"]), (&json!("b1"), &json!(2)));
    assert_eq!(job.tree["task"]["processes"][0]["cmdline"], "ls x");
}

#[test]
fn values_take_the_type_of_their_field() {
    let text = "jobs = [J(instances = '3', priority = 7.9, production = 'true', service = 0, name = 5, contact = True,
          task = T(resources = Resources(cpu = '{{n}}', ram = '{{n}}', disk = 1.5*GB))).bind(n = 2)]";
    let job = job(text);
    let field = |name: &str| job.tree[name].clone();
    assert_eq!([field("instances"), field("priority"), field("production")], [json!(3), json!(7), json!(true)]);
    assert_eq!([field("service"), field("name"), field("contact")], [json!(false), json!("5"), json!("True")]);
    assert_eq!(job.tree["task"]["resources"], json!({"cpu": 2.0, "ram": 2, "disk": 1_610_612_736, "gpu": 0}));
}

#[test]
fn names_from_the_command_line_are_bound_to_every_job() {
    let text =
        format!("{BASE}jobs = [J(name = 'a{{{{x}}}}', instances = '{{{{profile.n}}}}'), J(name = 'b{{{{x}}}}')]");
    let binds = vec![("x".into(), "1".into()), ("profile.n".into(), "4".into())];
    let evaluated = evaluate_files(&[("t.aurora", &text)], |_| Options { binds, ..Options::default() }).unwrap();
    assert_eq!(evaluated.jobs[0].tree["name"], "a1");
    assert_eq!(evaluated.jobs[0].tree["instances"], 4);
    assert_eq!(evaluated.jobs[1].tree["name"], "b1");
}

#[test]
fn what_is_not_bound_stays_and_says_where_it_was_looked_for() {
    let text = "class Profile(Struct):
  command = Default(String, 'x')

jobs = [J(task = T(processes = [P(cmdline = '{{nowhere}} {{profile.comand}} {{thermos.ports[http]}}')])
  ).bind(profile = Profile())]";
    let job = job(text);
    let said: Vec<String> = job.unbound.iter().map(|unbound| unbound.to_string()).collect();
    assert_eq!(job.unbound.len(), 3);
    assert!(
        said[0].contains(
            "task.processes[0].cmdline: {{nowhere}} is not bound; looked in Process's fields, \
        Task's fields, Job's fields, bindings (profile)"
        ),
        "{}",
        said[0]
    );
    assert!(
        said[1].contains("looked in `profile`: Profile has no field `comand`; did you mean `command`?"),
        "{}",
        said[1]
    );
    assert!(said[0].contains("t.aurora:7:35: "), "{}", said[0]);
}

#[test]
fn tasks_are_put_together() {
    let text = "A = T(name = 'a', processes = [P(name = 'a1'), P(name = 'a2')])
B = SequentialTask(name = 'b', processes = [P(name = 'b1')], resources = Resources(cpu = 2, ram = 1*MB, disk = 2*GB))
jobs = [J(name = 'concat', task = Tasks.concat(A, B, name = 'ab')), J(name = 'combine', task = combine_tasks(A, B))]";
    let jobs = jobs(text);
    let names = |job: usize| -> Vec<String> {
        let processes = jobs[job].tree["task"]["processes"].as_array().unwrap();
        processes.iter().map(|process| process["name"].as_str().unwrap().to_string()).collect()
    };
    assert_eq!(names(0), ["a1", "a2", "b1"]);
    assert_eq!(names(1), ["a1", "a2", "b1"]);
    let orders = json!([{"order": ["b1"]}, {"order": ["a1", "b1"]}, {"order": ["a2", "b1"]}]);
    assert_eq!(jobs[0].tree["task"]["constraints"], orders);
    assert_eq!(jobs[0].tree["task"]["name"], "ab");
    let resources = |job: usize| jobs[job].tree["task"]["resources"].clone();
    assert_eq!(resources(0), json!({"cpu": 2.0, "ram": 64 << 20, "disk": 2_147_483_648_u64, "gpu": 0}));
    assert_eq!(resources(1), json!({"cpu": 3.0, "ram": 65 << 20, "disk": 3_221_225_472_u64, "gpu": 0}));
}

#[test]
fn a_name_of_the_vocabulary_can_be_given_another_value() {
    let job = job("Task = Task(name = 'mine', processes = [P])\njobs = [J(task = Task), ]\nlen = len(jobs)");
    assert_eq!(job.tree["task"]["name"], "mine");
}

#[test]
fn fields_are_read_by_calling_them() {
    let text = "x = '%s/%s %s' % (J.role(), J.task().processes()[0].name(), J.has_contact())
n = J.instances().get() + 1
jobs = [J(name = x, instances = n) for t in [1] if J.contact() is Empty]";
    let job = job(text);
    assert_eq!((&job.tree["name"], &job.tree["instances"]), (&json!("r/p False"), &json!(2)));
}

#[test]
fn includes_share_their_names_and_keep_their_lines() {
    let files = [
        ("a/t.aurora", "include('../b/base.aurora')\njobs = [J(name = name + '-x')]\n"),
        ("b/base.aurora", "include('more.aurora')\nname = 'n'\n"),
        ("b/more.aurora", BASE),
    ];
    let evaluated = evaluate_files(&files, |_| Options::default()).unwrap();
    assert_eq!(evaluated.jobs[0].key(), "c/r/e/n-x");
}

#[test]
fn what_the_machine_knows_is_seen_only_when_allowed() {
    let text = format!(
        "import os, getpass\nwith open('data/x') as f:\n  text = f.read()\n{BASE}\
        jobs = [J(name = os.environ['N'] + os.getenv('M', 'm') + text, role = getpass.getuser())]"
    );
    let files = [("t.aurora", text.as_str()), ("data/x", "-x")];
    let env = Some([("N", "n"), ("USER", "u")].map(|(k, v)| (k.to_string(), v.to_string())).into());
    let evaluated = evaluate_files(&files, |folder| {
        Options { env, ..Options::default() }.allow_read_beside(&folder.join("t.aurora"))
    });
    assert_eq!(evaluated.unwrap().jobs[0].key(), "c/u/e/nm-x");
}

#[test]
fn pythons_ways_of_writing_are_understood() {
    let text = "import json as j
from textwrap import dedent
print 'making', 2
cmd = dedent('''
  a
  b''').replace('\\n', ' ')
labels = {'k': None, 'n': [1, 2.5, True]}
labels.update(dict(z = u'\\xe9'))
jobs = [J(contact = j.dumps(labels), name = ''.join(x for x in ['a', \"b\" 'c']), task = T(processes = [P(cmdline = cmd)]))]
";
    let job = job(text);
    assert_eq!(job.tree["contact"], r#"{"k": null, "n": [1, 2.5, true], "z": "\u00e9"}"#);
    assert_eq!(job.tree["name"], "abc");
    assert_eq!(job.tree["task"]["processes"][0]["cmdline"], " a b");
}

#[test]
fn hooks_have_no_effect_and_that_is_said() {
    let evaluated =
        super::evaluate(&format!("{BASE}class H(object):\n  def f(self):\n    pass\nhooks = [H()]\njobs = [J]"))
            .unwrap();
    assert_eq!(evaluated.notes.len(), 2);
    assert!(evaluated.notes[0].contains("class H is Python code"), "{:?}", evaluated.notes);
}

#[test]
fn the_vocabulary_is_known_to_editors() {
    let schema = json_schema().unwrap();
    assert_eq!(schema["items"]["$ref"], "#/$defs/Job");
    assert_eq!(schema["$defs"]["Process"]["required"], json!(["cmdline", "name"]));
    assert_eq!(schema["$defs"]["Process"]["properties"]["min_duration"]["default"], 5);
    assert!(schema["$defs"].as_object().unwrap().values().all(|definition| definition.is_object()));
}
