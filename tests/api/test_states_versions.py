"""Revisions and versions of state machines, and what CreateStateMachine makes of roles. What is expected is what AWS did for the tests of
other projects: an update of the logging makes a revision (recorded June 2024), another description another version (2025)."""

import json

import pytest
from api import helpers

PASS = json.dumps({"StartAt": "P", "States": {"P": {"Type": "Pass", "End": True}}})


@pytest.fixture(scope="module")
def sfn(quern):
    return quern.client("stepfunctions")


@pytest.fixture
def machine(quern, sfn):
    return sfn.create_state_machine(name=helpers.unique("m"), definition=PASS, roleArn=quern.role)["stateMachineArn"]


def revision(sfn, arn):
    return sfn.describe_state_machine(stateMachineArn=arn).get("revisionId")


def test_revisions_follow_the_configuration(quern, sfn, machine):
    helpers.needs(sfn, "UpdateStateMachine", "publish")
    assert revision(sfn, machine) is None
    off = {"level": "OFF", "includeExecutionData": False}
    sfn.update_state_machine(stateMachineArn=machine, loggingConfiguration=off, tracingConfiguration={"enabled": False}, definition=PASS)
    assert revision(sfn, machine) is None, "nothing is another than before"
    seen = set()
    for change in ({"loggingConfiguration": {"level": "OFF", "includeExecutionData": True}}, {"tracingConfiguration": {"enabled": True}}, {"roleArn": quern.role + "2"}):
        sfn.update_state_machine(stateMachineArn=machine, **change)
        now = revision(sfn, machine)
        assert now and now not in seen, change
        seen.add(now)
        sfn.update_state_machine(stateMachineArn=machine, **change)
        assert revision(sfn, machine) == now, "the same once more"


def test_a_plain_configuration_is_none(quern, sfn):
    """Made again with what is so anyway: the same machine. With anything else: it is there already."""
    made = {"name": helpers.unique("m"), "definition": PASS, "roleArn": quern.role}
    arn = sfn.create_state_machine(**made)["stateMachineArn"]
    for same in ({}, {"loggingConfiguration": {"level": "OFF"}}, {"loggingConfiguration": {}}, {"tracingConfiguration": {"enabled": False}}):
        assert sfn.create_state_machine(**made, **same)["stateMachineArn"] == arn, same
    for other in ({"loggingConfiguration": {"includeExecutionData": True}}, {"tracingConfiguration": {"enabled": True}}):
        with pytest.raises(sfn.exceptions.StateMachineAlreadyExists):
            sfn.create_state_machine(**made, **other)


def test_a_changed_configuration_is_another_version(quern, sfn):
    helpers.needs(sfn, "UpdateStateMachine", "publish")
    made = sfn.create_state_machine(name=helpers.unique("m"), definition=PASS, roleArn=quern.role, publish=True)
    arn = made["stateMachineArn"]
    traced = sfn.update_state_machine(stateMachineArn=arn, publish=True, tracingConfiguration={"enabled": True})
    assert (made["stateMachineVersionArn"], traced["stateMachineVersionArn"]) == (f"{arn}:1", f"{arn}:2")


def test_another_description_is_another_version(quern, sfn):
    helpers.needs(sfn, "UpdateStateMachine", "publish")
    made = sfn.create_state_machine(name=helpers.unique("m"), definition=PASS, roleArn=quern.role, publish=True, versionDescription="first")
    arn = made["stateMachineArn"]
    again = sfn.update_state_machine(stateMachineArn=arn, definition=PASS, publish=True, versionDescription="first")
    assert again["stateMachineVersionArn"] == f"{arn}:1"
    second = sfn.update_state_machine(stateMachineArn=arn, definition=PASS, publish=True, versionDescription="second")
    assert second["stateMachineVersionArn"] == f"{arn}:2"
    shown = [sfn.describe_state_machine(stateMachineArn=f"{arn}:{n}")["description"] for n in (1, 2)]
    assert shown == ["first", "second"]
    assert sfn.publish_state_machine_version(stateMachineArn=arn, description="third")["stateMachineVersionArn"] == f"{arn}:2"


@pytest.mark.parametrize("role", ["arn:aws:iam:1234:role/r", "arn:aws:iam::000000000000:user/r", "arn:aws:iam::000000000000:role/", "arn:aws:s3:::bucket"])
def test_a_role_is_the_arn_of_a_role(sfn, role):
    with pytest.raises(sfn.exceptions.InvalidArn) as refused:
        sfn.create_state_machine(name=helpers.unique("m"), definition=PASS, roleArn=role)
    assert refused.value.response["Error"]["Message"] == f"Invalid Role Arn: '{role}'"
