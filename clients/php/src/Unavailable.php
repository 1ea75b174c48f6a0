<?php

declare(strict_types=1);

namespace Kahe;

/** The daemon is away: nothing listens on the socket, or it closed the connection. */
final class Unavailable extends NotSent
{
}
