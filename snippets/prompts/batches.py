"""Has every task of a batch done, all at a time, and tells each owner once."""

import os

import httpx
import restate
from pydantic import BaseModel

API_URL = os.environ.get("API_URL", "http://localhost:9000")

tasks = restate.Service("Tasks")
batches = restate.Workflow("Batch")


class Task(BaseModel):
    owner: str
    minutes: int


class Batch(BaseModel):
    tasks: dict[str, Task]


def tell(owner: str) -> None:
    httpx.put(f"{API_URL}/told/{owner}", json=True).raise_for_status()


@tasks.handler()
async def perform(ctx: restate.Context, task: Task) -> str:
    return f"{task.minutes} minutes for {task.owner}"


@batches.main()
async def run(ctx: restate.WorkflowContext, batch: Batch) -> dict[str, str]:
    calls = {name: ctx.service_call(perform, t) for name, t in batch.tasks.items()}
    await restate.gather(*calls.values())
    # Raises if one has failed: gather does not.
    done = {name: await call for name, call in calls.items()}
    owners = {task.owner for task in batch.tasks.values()}
    for owner in sorted(owners):  # a dict keeps its order, a set doesn't
        await ctx.run_typed(f"tell {owner}", tell, owner=owner)
    return done


app = restate.app([tasks, batches])
