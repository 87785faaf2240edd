"""`tuningjob manifest SCRIPT.py:SEARCH`: the manifest of a search that is written in Python."""

from collections.abc import Mapping

import click

from tuningjob.errors import ManifestRefused, Problem
from tuningjob.manifest.canonical import read_yaml, to_yaml
from tuningjob.manifest.literals import shown


@click.command()
@click.argument("target", metavar="SCRIPT.py:SEARCH")
@click.option("--data", required=True, help="spec.data, as YAML: '{path: churn.csv, target: churned}'.")
@click.option("--name", help="Of the TuningJob [the search's name in the script].")
@click.option("--groups", help="The column that fit would be given as groups.")
def manifest(target: str, data: str, name: str | None, groups: str | None) -> None:
    """Print the manifest of a GridSearchCV or RandomizedSearchCV object, or a halving one, that a script makes at its top level.

    The script is imported, so what it does at its top level it does: let it fit under `if __name__ == "__main__":`.
    """
    # scikit-learn is imported only where it is needed, and after the thread caps are set
    from tuningjob.search.script import object_of
    from tuningjob.search.to_manifest import to_manifest

    with object_of(target) as search:
        written = to_manifest(
            search, data=_data(data), name=name if name is not None else target.rpartition(":")[2], groups=groups
        )
    click.echo(to_yaml(written).rstrip("\n"))


def _data(text: str) -> Mapping[str, object]:
    found = read_yaml(text)
    if not isinstance(found, Mapping):
        raise ManifestRefused([Problem("--data", "a map, such as {path: churn.csv, target: churned}", shown(found))])
    return found


COMMANDS = (manifest,)
