<?php

// Runs the tests of the PHP client: `php tests/run.php [part of a name]`. Needs no package and no extension.

declare(strict_types=1);

namespace Kahe\Tests;

error_reporting(E_ALL);
set_error_handler(static function (int $level, string $message, string $file, int $line): bool {
    // Silenced by @: what the client expects and handles.
    return (error_reporting() & $level) === 0 ? false : throw new \ErrorException($message, 0, $level, $file, $line);
});

require __DIR__ . '/../autoload.php';
require __DIR__ . '/support.php';

foreach (glob(__DIR__ . '/*Test.php') as $file) {
    require $file;
}

exit(Runner::run($argv[1] ?? ''));
