<?php

// For applications without Composer: `require 'path/to/clients/php/autoload.php';`.

declare(strict_types=1);

spl_autoload_register(static function (string $class): void {
    if (preg_match('/^Kahe\\\\(\w+)$/D', $class, $match) === 1 && is_file(__DIR__ . "/src/{$match[1]}.php")) {
        require __DIR__ . "/src/{$match[1]}.php";
    }
});
