"""What is written down of a run."""

import subprocess

from captum_spes.io.provenance import commit


def test_the_commit_is_that_of_the_checkout_with_a_mark_where_files_differ(tmp_path):
    def git(*arguments):
        who = ["-c", "user.name=somebody", "-c", "user.email=somebody@example.org"]
        run = ["git", *who, *arguments]
        return subprocess.run(run, cwd=tmp_path, check=True, capture_output=True, text=True).stdout

    package, foreign = tmp_path / "package", tmp_path / "environment"
    package.mkdir()
    foreign.mkdir()
    (package / "code.py").write_text("a = 1\n")
    (foreign / "installed.py").write_text("a = 1\n")
    assert commit(package) is None
    git("init", "--quiet")
    git("add", "package")
    git("commit", "--quiet", "-m", "code")
    found = git("rev-parse", "HEAD").strip()
    assert commit(package) == found
    # An environment within somebody's own project does not have that project's commit.
    assert commit(foreign) is None
    (package / "code.py").write_text("a = 2\n")
    assert commit(package) == found + "+"
