<?php

declare(strict_types=1);

namespace Kahe;

/** The daemon is there, but did not take the frames, or answer, in time. The connection was closed. */
final class DeadlineExceeded extends NotSent
{
}
