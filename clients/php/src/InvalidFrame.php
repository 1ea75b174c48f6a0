<?php

declare(strict_types=1);

namespace Kahe;

/** A bucket, key or message that doesn't fit the frame. Nothing of it was sent; sending it again can't help. */
final class InvalidFrame extends Exception
{
}
