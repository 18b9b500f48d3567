"""The demo world "author-bench": fictitious authors, general facts and small models, from one seed.

Public surface: :class:`WorldSpec` says what to build, :func:`build_world` builds or finds it, :func:`draw_world`
gives the rows alone. Nobody in it exists; nothing is downloaded.
"""

from pipelines.world.authors import WorldRows, draw_world
from pipelines.world.build import World, build_world
from pipelines.world.spec import ModelSpec, PeopleSpec, WorldSpec

__all__ = ["ModelSpec", "PeopleSpec", "World", "WorldRows", "WorldSpec", "build_world", "draw_world"]
