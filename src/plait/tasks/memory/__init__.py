"""Problems whose answer lies far back in a sequence."""

from plait.tasks.entry import TaskEntry

TASK = TaskEntry(
    name="memory",
    help="Answer a question about a sequence after reading it: how well do cells remember?\n\n"
    "Example: plait train memory --problem recall --length 50 --cell gru --until-converged",
    config="plait.tasks.memory.config:MemoryConfig",
    task="plait.tasks.memory.task:MemoryTask",
    model="plait.tasks.memory.model:MemoryModel",
    score="plait.tasks.memory.inference:score_memory",
    probe="plait.tasks.memory.inference:probe",
    published="plait.tasks.memory.published:published_steps",
    score_data="lengths such as 8,10,12",
)
