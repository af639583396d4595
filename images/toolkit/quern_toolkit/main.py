"""Decides what a training job runs, runs it, and reports the end.

DESIGN: a job that names a script (sagemaker_program) is a script job, in every image. Without one the XGBoost image
runs its algorithm: the trainer takes this process's place and does its own reporting. Other images have no algorithm.
The exit status of a failed script is passed on.
"""
import os
import shutil
import socket
import time
import traceback

from quern_toolkit import environment, failure

ALGORITHM = "quern-xgboost"
DNS_PATIENCE_SECONDS = 15 * 60


def find_algorithm():
    """The trainer, in the image that declares one."""
    if os.environ.get("QUERN_IMAGE_ALGORITHM") != "xgboost":
        return None
    return shutil.which(ALGORITHM)


def run_algorithm(program, env):
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    os.environ.setdefault("SM_NUM_CPUS", str(environment.num_cpus()))
    os.execv(program, [program])


def wait_for_hosts(env):
    """All hosts of the job have to be known by name before a script may talk to them."""
    if len(env.hosts) < 2 or os.environ.get("SM_STUDIO_LOCAL_MODE", "").lower() == "true":
        return
    end = time.monotonic() + DNS_PATIENCE_SECONDS
    for host in env.hosts:
        pause = 0.1
        while True:
            try:
                socket.gethostbyname(host)
                break
            except OSError as e:
                if time.monotonic() > end:
                    raise failure.ClientError(f"host {host} can't be resolved: {e}") from e
                time.sleep(pause)
                pause = min(pause * 2, 30)


def script_variables(env):
    from quern_toolkit import code

    packages = code.user_site()
    variables = {**os.environ, **env.variables()}
    variables.setdefault("PYTHONUNBUFFERED", "1")
    path = [env.code_dir, packages, *variables.get("PYTHONPATH", "").split(os.pathsep)]
    variables["PYTHONPATH"] = os.pathsep.join(p for p in path if p)
    return variables


def describe(env, command):
    import json

    document = json.dumps(env.document(), indent=4, sort_keys=True)
    failure.info(f"Invoking user script\n\nTraining Env:\n\n{document}\n\nInvoking script with the following command:"
                 f"\n\n{' '.join(command)}\n")


def run_script(env):
    from quern_toolkit import code, process

    if env.additional_framework_parameters.get("sagemaker_mpi_enabled"):
        raise failure.ClientError("this image has no MPI launcher (hyperparameter sagemaker_mpi_enabled)")
    code.fetch(env.module_dir, env.code_dir)
    code.install(env.user_entry_point, env.code_dir)
    wait_for_hosts(env)
    command = process.command_line(env.code_dir, env.user_entry_point, environment.to_arguments(env.hyperparameters))
    describe(env, command)
    process.run(command, cwd=env.code_dir, env=script_variables(env))


def train():
    env = environment.Environment()
    if not env.user_entry_point:
        program = find_algorithm()
        if not program:
            raise failure.ClientError("this image runs a script: name one in the hyperparameter sagemaker_program")
        run_algorithm(program, env)
    run_script(env)


def main():
    output_dir = os.path.join(environment.base_dir(), "output")
    try:
        train()
    except failure.ClientError as e:
        failure.write_failure(output_dir, str(e))
        return e.exit_code
    except Exception as e:  # whatever it is, the job has to say so
        failure.write_failure(output_dir, f"Framework Error: \n{traceback.format_exc()}\n{e}")
        return getattr(e, "errno", None) or 1
    failure.write_success(output_dir)
    return 0
